"""Many cases: prepared side by side, gone on with after an interruption, and their common results."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.bulk import COARSER, LIGHTER, Job, Worker, run_jobs
from ..common.errors import InputError
from ..common.files import to_json, write_table, write_text
from ..data.cases import DATALIST, SPLITS
from .case_files import finished_record
from .case_task import QC_FOLDER, CaseTask
from .qc_report import Report, write_csv, write_html
from .records import FLAGGED, Record
from .splits import split_patients

logger = logging.getLogger(__name__)

FAILURES_FILE, REPORT_FILE, TABLE_FILE = "failures.csv", "qc.html", "qc.csv"
FAILURE_COLUMNS = ("case", "reason", "remedy")


@dataclass(frozen=True)
class Budget:
    """How many cases are processed at a time.

    Args:
        jobs: largest number of processes.
        memory_gb: memory for all of them together.
        scheduler: of a dask cluster that works on them instead, whose workers say both.
    """

    jobs: int
    memory_gb: float
    scheduler: str = ""

    def __post_init__(self) -> None:
        if self.jobs < 1 or not self.memory_gb > 0:
            raise InputError(f"--jobs {self.jobs} --memory-gb {self.memory_gb:g}: expected 1 job or more, and memory")


@dataclass(frozen=True)
class Outcome:
    """The outcome of a list.

    Args:
        records: of the finished cases.
        failures: by case, why it failed.
        skipped: number of cases finished earlier.
    """

    records: tuple[Record, ...]
    failures: Mapping[str, str]
    skipped: int


def prepare_cases(
    tasks: Sequence[CaseTask],
    worker: Worker,
    memory_gb: Callable[[Any], float],
    budget: Budget,
    accepted: Collection[str],
) -> Outcome:
    """Prepare every case that isn't finished with these settings and sources; a failure doesn't stop the others.

    Args:
        tasks: the cases.
        worker: prepares one, see ``bulk.run_jobs``.
        memory_gb: estimates the peak memory of one.
        budget: how many at a time.
        accepted: cases that the user takes although they are flagged.
    """
    done: dict[str, dict[str, Any]] = {}
    waiting: list[CaseTask] = []
    for task in tasks:
        record, problem = finished_record(task)
        if record is not None:
            done[task.case] = record
            continue
        waiting.append(task)
        if problem:
            logger.warning("case %s: %s; it is prepared anew", task.case, problem)
    skipped = len(done)
    jobs = [Job(task.case, task, memory_gb(task)) for task in waiting]
    try:
        failures = run_jobs(
            jobs,
            worker,
            processes=budget.jobs,
            memory_gb=budget.memory_gb,
            lighter=COARSER if budget.scheduler else LIGHTER,
            scheduler=budget.scheduler,
        )
    finally:
        for task in waiting:
            shutil.rmtree(task.partial, ignore_errors=True)  # of a process that was stopped
    for task in waiting:
        record, _ = finished_record(task)
        if record is not None and task.case not in failures:
            done[task.case] = record
    records = [Record.from_file(record, accepted=case in accepted) for case, record in done.items()]
    return Outcome(tuple(records), failures, skipped)


def write_outcome(
    outcome: Outcome,
    output: Path,
    report: Report,
    *,
    shares: Sequence[float],
    seed: int,
    kinds: Sequence[str],
    virtual: bool = False,
) -> None:
    """Write the case list, quality control's table and page, and the failures.

    Raises:
        InputError: if they can't be written.
    """
    write_text(
        to_json(datalist(outcome.records, shares=shares, seed=seed, kinds=kinds, virtual=virtual)), output / DATALIST
    )
    write_csv(outcome.records, report, output / TABLE_FILE)
    pictures = {record.case: output / QC_FOLDER / f"{record.case}.png" for record in outcome.records}
    write_html(outcome.records, outcome.failures, pictures, report, output / REPORT_FILE)
    failures = []
    for case, failure in sorted(outcome.failures.items()):
        reason, _, remedy = failure.rpartition("; ")
        failures.append({"case": case, "reason": reason or remedy, "remedy": remedy if reason else ""})
    write_table(output / FAILURES_FILE, failures, FAILURE_COLUMNS)


def datalist(
    records: Sequence[Record], *, shares: Sequence[float], seed: int, kinds: Sequence[str], virtual: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """MONAI's case list of the cases that aren't flagged, or are accepted; paths are relative to it.

    All cases of a patient are in the same split, see ``splits.split_patients``.

    Args:
        records: the finished cases.
        shares: of the patients in each split.
        seed: of the split.
        kinds: of each case's images.
        virtual: mark the cases as made from one scan.
    """
    used = sorted((record for record in records if record.state != FLAGGED), key=lambda record: record.case)
    split_of = split_patients([record.patient for record in used], shares=shares, seed=seed)
    entries: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    mark = {"virtual": True} if virtual else {}
    for record in used:
        files = {kind: f"{record.case}_{kind}.nii.gz" for kind in kinds if kind not in record.empty}
        entries[split_of[record.patient]].append({"case": record.case, "patient": record.patient, **mark, **files})
    return entries


def summary(outcome: Outcome, output: Path, *, given: int, unused: Sequence[tuple[str, str]] = ()) -> str:
    """The last words to the user: what is in the case list, and what isn't, and why."""
    flagged = [record for record in outcome.records if record.state == FLAGGED]
    listed = len(outcome.records) - len(flagged)
    lines = [
        f"{listed} of {given} pairs are in {output / DATALIST} ({outcome.skipped} finished earlier)",
        *(f"flagged, left out: {record.case}: {'; '.join(record.flags)}" for record in flagged),
        *(f"failed: {case}: {reason}" for case, reason in sorted(outcome.failures.items())),
        *(f"not used: {case}: {why}" for case, why in unused),
        f"quality: {output / REPORT_FILE}, {output / TABLE_FILE}",
    ]
    if flagged:
        lines.append("a flagged pair that looks right can be taken with --accept CASE")
    if outcome.failures:
        lines.append(f"failures: {output / FAILURES_FILE}")
    return "\n".join(lines)
