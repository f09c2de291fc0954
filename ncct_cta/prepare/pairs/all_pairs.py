"""Prepare all pairs of a list, and write their common results."""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...common.errors import InputError, fault_in_words
from ...common.files import to_json, write_table, write_text
from ...common.folders import locked_folder, writable_folder
from ...data.cases import DATALIST, KINDS, SPLITS
from ...volumes.nifti import nifti_suffix
from .bulk import GIB, Job, run_jobs
from .case_files import finished_record
from .one_pair import prepare_case
from .pair_list import Pair, PairList, ScanFinder, ScanSource, read_pairs
from .qc_report import write_csv, write_html
from .records import FLAGGED, Record
from .splits import check_shares, split_patients
from .task import QC_FOLDER, PreparationSettings, Task

logger = logging.getLogger(__name__)

FAILURES_FILE, REPORT_FILE, TABLE_FILE = "failures.csv", "qc.html", "qc.csv"
FAILURE_COLUMNS = ("case", "reason", "remedy")
# Measured peak memory of a case: a base for the libraries, plus bytes per voxel of NCCT and CTA.
BASE_GB, BYTES_A_VOXEL = 0.9, 40.0
# Voxels per byte on disk: int16, in a file that may be compressed.
VOXELS_A_BYTE = 1.0


@dataclass(frozen=True)
class Budget:
    """How many cases are processed at a time.

    Args:
        jobs: largest number of processes.
        memory_gb: memory for all of them together.
    """

    jobs: int
    memory_gb: float

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


def run(options: argparse.Namespace) -> int:
    """Prepare all pairs of ``options.pairs``; return the number of those that failed.

    Raises:
        InputError: if the list or an option can't be used.
    """
    check_shares(options.split)
    settings = PreparationSettings(
        deformable=not options.no_deformable,
        keep_grid=options.keep_grid,
        spacing=tuple(options.spacing) if options.spacing else None,
        seed=options.seed,
    )
    budget = Budget(options.jobs, options.memory_gb)
    pairs = read_pairs(options.pairs, options.accept)
    with locked_folder(writable_folder(options.output)):
        outcome = prepare_all(pairs, options.output, settings, budget)
        write_outcome(outcome, options.output, shares=options.split, seed=options.seed)
    print(summary(outcome, pairs, options.output))
    return len(outcome.failures)


def prepare_all(pairs: PairList, output: Path, settings: PreparationSettings, budget: Budget) -> Outcome:
    """Prepare every pair that isn't finished with these settings and sources; a failure doesn't stop the others."""
    tasks, failures = _tasks(pairs, output, settings)
    done: dict[str, dict[str, Any]] = {}
    waiting: list[Task] = []
    for task in tasks:
        record, problem = finished_record(task)
        if record is not None:
            done[task.case] = record
            continue
        waiting.append(task)
        if problem:
            logger.warning("case %s: %s; it is prepared anew", task.case, problem)
    skipped = len(done)
    jobs = [Job(task.case, task, _estimate_gb(task)) for task in waiting]
    try:
        failures |= run_jobs(jobs, prepare_case, processes=budget.jobs, memory_gb=budget.memory_gb)
    finally:
        for task in waiting:
            shutil.rmtree(task.partial, ignore_errors=True)  # of a process that was stopped
    for task in waiting:
        record, _ = finished_record(task)
        if record is not None and task.case not in failures:
            done[task.case] = record
    accepted = {pair.case for pair in pairs.pairs if pair.accepted}
    records = [Record.from_file(record, accepted=case in accepted) for case, record in done.items()]
    return Outcome(tuple(records), failures, skipped)


def _tasks(pairs: PairList, output: Path, settings: PreparationSettings) -> tuple[list[Task], dict[str, str]]:
    """What there is to do; and of the pairs whose scans can't be found, why."""
    finder = ScanFinder(pairs.folder)
    failures: dict[str, str] = {}
    tasks: list[Task] = []
    for pair in tqdm(pairs.pairs, desc="sources", unit="case", disable=None):
        try:
            tasks.append(_task(pair, finder, output, settings))
        except InputError as error:
            failures[pair.case] = str(error)
        except Exception as error:  # that nobody foresaw: this case's failure, not the list's
            failures[pair.case] = fault_in_words(error)
    return tasks, failures


def write_outcome(outcome: Outcome, output: Path, *, shares: Sequence[float], seed: int) -> None:
    """Write the case list, quality control's table and page, and the failures.

    Raises:
        InputError: if they can't be written.
    """
    write_text(to_json(datalist(outcome.records, shares=shares, seed=seed)), output / DATALIST)
    write_csv(outcome.records, output / TABLE_FILE)
    pictures = {record.case: output / QC_FOLDER / f"{record.case}.png" for record in outcome.records}
    write_html(outcome.records, outcome.failures, pictures, output / REPORT_FILE)
    failures = []
    for case, failure in sorted(outcome.failures.items()):
        reason, _, remedy = failure.rpartition("; ")
        failures.append({"case": case, "reason": reason or remedy, "remedy": remedy if reason else ""})
    write_table(output / FAILURES_FILE, failures, FAILURE_COLUMNS)


def datalist(records: Sequence[Record], *, shares: Sequence[float], seed: int) -> dict[str, list[dict[str, str]]]:
    """MONAI's case list of the cases that aren't flagged, or are accepted; paths are relative to it.

    All cases of a patient are in the same split, see ``splits.split_patients``.
    """
    used = sorted((record for record in records if record.state != FLAGGED), key=lambda record: record.case)
    split_of = split_patients([record.patient for record in used], shares=shares, seed=seed)
    entries: dict[str, list[dict[str, str]]] = {split: [] for split in SPLITS}
    for record in used:
        files = {kind: f"{record.case}_{kind}.nii.gz" for kind in KINDS}
        entries[split_of[record.patient]].append({"case": record.case, "patient": record.patient, **files})
    return entries


def summary(outcome: Outcome, pairs: PairList, output: Path) -> str:
    """Return the final summary for the user."""
    flagged = [record for record in outcome.records if record.state == FLAGGED]
    listed = len(outcome.records) - len(flagged)
    lines = [
        f"{listed} of {len(pairs.pairs)} pairs are in {output / DATALIST} ({outcome.skipped} finished earlier)",
        *(f"flagged, left out: {record.case}: {'; '.join(record.flags)}" for record in flagged),
        *(f"failed: {case}: {reason}" for case, reason in sorted(outcome.failures.items())),
        *(f"not used: {case}: {why}" for case, why in pairs.unused),
        f"quality: {output / REPORT_FILE}, {output / TABLE_FILE}",
    ]
    if flagged:
        lines.append("a flagged pair that looks right can be taken with --accept CASE")
    if outcome.failures:
        lines.append(f"failures: {output / FAILURES_FILE}")
    return "\n".join(lines)


def _task(pair: Pair, finder: ScanFinder, output: Path, settings: PreparationSettings) -> Task:
    ncct, cta = (finder.find(getattr(pair, kind), case=pair.case, kind=kind) for kind in ("ncct", "cta"))
    for source in (ncct, cta):
        if source.series is not None and source.series.remark:
            logger.warning("case %s: %s: %s", pair.case, source.label, source.series.remark)
    return Task(pair.case, pair.patient, ncct, cta, output, settings)


def _estimate_gb(task: Task) -> float:
    """Estimate the peak memory of a case."""
    return BASE_GB + BYTES_A_VOXEL * sum(_most_voxels(source) for source in (task.ncct, task.cta)) / GIB


def _most_voxels(source: ScanSource) -> float:
    """Return the largest possible number of voxels: of a series from its headers, of a file from its size."""
    if source.series is not None:
        return sum(file.number("Rows") * file.number("Columns") for file in source.series.slices)
    return source.path.stat().st_size * (0.5 if nifti_suffix(source.path) == ".nii" else VOXELS_A_BYTE)
