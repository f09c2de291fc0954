"""Fill the volume store before it is used: what that takes is said first, and as many processes as fit do it."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import pickle
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from ..common.bulk import DEFAULT_SHARE, GIB, Job, attempt, machine_memory_gb, run_jobs
from ..common.errors import InputError
from ..common.interrupts import is_from_python
from ..common.progress import progress_bar
from ..common.resources import available_bytes, usable_cores
from ..volumes.nifti import read_shape, read_spacing
from .cases import Case
from .preparation import IMAGES, STORED
from .store import VolumeStore

logger = logging.getLogger(__name__)

# Measured peak memory of a case (512 x 512 x 100 and 200): a base for the libraries, plus bytes per voxel of the file,
# or of the grid that it is resampled to.
BASE_GB, BYTES_A_VOXEL, BYTES_A_RESAMPLED_VOXEL = 0.9, 20.0, 80.0
BYTES_STORED = 2 * len(IMAGES) + (len(STORED) - len(IMAGES))  # a voxel: int16 images, uint8 masks
# Fresh processes import PyTorch and MONAI first: what takes no longer than that is done here.
WORTH_SECONDS = 15.0
# Small cases share a process: each process loads anew what libraries load when they are first used.
CHUNK_SECONDS = 10.0
LIGHTER = "a smaller data.cache_jobs"


class Need(NamedTuple):
    """What a case takes.

    Args:
        disk_gb: in the store.
        memory_gb: at the peak, while it is built.
    """

    disk_gb: float
    memory_gb: float


def need_of(case: Case, spacing: Sequence[float] | None) -> Need:
    """Estimate what a case takes from its header; 0 where that can't be read, which whoever builds it will say.

    Args:
        case: its files.
        spacing: what the preprocessing resamples to, in mm; None: nothing is resampled.
    """
    try:
        own = math.prod(read_shape(case.ncct)[:3])
        voxel = math.prod(read_spacing(case.ncct))
    except InputError:
        return Need(0.0, BASE_GB)
    resampled = own if spacing is None else own * voxel / math.prod(spacing)
    memory = BYTES_A_VOXEL * own + (0 if spacing is None else BYTES_A_RESAMPLED_VOXEL * resampled)
    return Need(BYTES_STORED * resampled / GIB, BASE_GB + memory / GIB)


def build_missing(
    store: VolumeStore,
    cases: Sequence[Case],
    *,
    spacing: Sequence[float] | None = None,
    jobs: int = 0,
    most_gb: float = 0.0,
    share: tuple[int, int] = (0, 1),
) -> None:
    """Build every case that the store lacks, side by side where that is worth the start of other processes.

    Whatever is killed meanwhile leaves nothing half-built, and another process may build the same cases: see
    ``VolumeStore``.

    Args:
        store: where they are kept.
        cases: the case list.
        spacing: what the preprocessing resamples to, in mm, for the estimates.
        jobs: processes; 0: as many as cores and memory allow.
        most_gb: largest size of the store in GB; 0: no limit.
        share: (which, of how many) processes train together on this case list: each begins with cases of its own.

    Raises:
        InputError: if the store would grow beyond ``most_gb``, or cases can't be used.
    """
    missing = [case for case in cases if not store.holds(case)]
    if not missing:
        return
    needs = {case.name: need_of(case, spacing) for case in missing}
    _say_what_it_takes(store.folder, len(missing), sum(need.disk_gb for need in needs.values()), most_gb)
    which, of_all = share
    mine = [case for number, case in enumerate(missing) if number % of_all == which]
    others = [case for number, case in enumerate(missing) if number % of_all != which]
    jobs = jobs or (usable_cores() if _may_start_processes(store) else 1)
    try:
        for part in (mine, others):  # of the others' there is little left by then
            left, seconds = _build_here(store, part, alone=jobs == 1)
            left = [case for case in left if not store.holds(case)]
            at_once = min(round(CHUNK_SECONDS / seconds), len(left) // (2 * jobs)) if left else 1
            chunks = [left[start : start + max(1, at_once)] for start in range(0, len(left), max(1, at_once))]
            _build_side_by_side(store, chunks, needs, jobs)
    finally:
        store.digests.save()


def _may_start_processes(store: VolumeStore) -> bool:
    """Not from Python: a fresh process would run a script again that doesn't guard its main part."""
    if is_from_python() or multiprocessing.current_process().daemon:
        return False
    try:
        pickle.dumps(store)
    except Exception as error:  # whatever a transform of the user's own makes pickle raise
        logger.info(
            "cases are built one after the other: the preprocessing can't be sent to other processes (%s)", error
        )
        return False
    return True


def _say_what_it_takes(folder: Path, cases: int, need_gb: float, most_gb: float) -> None:
    held_gb = sum(file.stat().st_size for file in folder.glob("*/*") if file.is_file()) / GIB
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free_gb = shutil.disk_usage(there).free / GIB
    what = f"the cache {folder} holds {held_gb:.1f} GB; {cases} cases to add take about {need_gb:.1f} GB"
    logger.info("%s, %.1f GB are free", what, free_gb)
    if most_gb and held_gb + need_gb > most_gb:
        raise InputError(
            f"{what}, and data.cache_gb is {most_gb:g}; raise it, give fewer cases or a coarser data.spacing, or "
            "remove the folder if what it holds is of other trainings"
        )
    if need_gb > free_gb:
        logger.warning("%s, but %.1f GB are free: set another data.cache_dir, or free some space", what, free_gb)


def _build_here(store: VolumeStore, cases: Sequence[Case], *, alone: bool) -> tuple[Sequence[Case], float]:
    """Build cases one after the other until the rest is worth other processes; return that, and seconds a case."""
    start = time.monotonic()
    # Log lines stand above the bar; it is closed before an error's line, which would else stand behind it.
    with logging_redirect_tqdm(), closing(progress_bar(total=len(cases), desc="build cache", unit="case")) as bar:
        for done, case in enumerate(cases):
            seconds = (time.monotonic() - start) / max(1, done)
            if not alone and done > 0 and seconds * (len(cases) - done) > WORTH_SECONDS:
                bar.leave = False
                return cases[done:], seconds
            store.open(case)
            bar.update()
    return [], 0.0


def _build_side_by_side(
    store: VolumeStore, chunks: Sequence[Sequence[Case]], needs: Mapping[str, Need], jobs: int
) -> None:
    budget_gb = _memory_gb()
    # A case that alone is beyond the budget is tried alone: the estimate may be wrong.
    memory_gb = [min(budget_gb, max(needs[case.name].memory_gb for case in chunk)) for chunk in chunks]
    work = [Job(chunk[0].name, (store, chunk), most, len(chunk)) for chunk, most in zip(chunks, memory_gb, strict=True)]
    failures: dict[str, str] = {}

    def done(name: str, result: Any) -> None:
        failed, digests, records = result
        failures.update(failed)
        store.digests.learn(digests)
        for record in records:
            logging.getLogger(record.name).handle(record)

    budget: dict[str, Any] = {"processes": jobs, "memory_gb": budget_gb, "lighter": LIGHTER}
    with logging_redirect_tqdm():
        failures |= run_jobs(work, _build, **budget, done=done, title="build cache")
    if failures:
        more = f" (and {len(failures) - 1} more cases can't be used)" if len(failures) > 1 else ""
        raise InputError(failures[min(failures)] + more)


def _build(
    argument: tuple[VolumeStore, Sequence[Case]], report: Callable[[str], None]
) -> tuple[dict[str, str], dict[str, Any], list[logging.LogRecord]]:
    """Build cases in a process of their own; return why some failed, the files' digests, and what was logged."""
    store, cases = argument
    torch.set_num_threads(1)  # cases are built side by side
    records = _Kept()
    logging.getLogger("ncct_cta").addHandler(records)
    failures = {}
    try:
        for case in cases:
            report(f"{case.name}" if len(cases) > 1 else "building")
            failure, _ = attempt(lambda case, _: store.open(case), case, report, LIGHTER)
            if failure is not None:
                failures[case.name] = failure
    finally:
        logging.getLogger("ncct_cta").removeHandler(records)
    return failures, store.digests.new, records.kept


class _Kept(logging.Handler):
    """Keeps what is logged, ready to be sent to another process."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; its words are put together here, because what they are about may not be sendable."""
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self.kept.append(record)


def _memory_gb() -> float:
    """The memory for all processes together: a share of what is free, which other trainings of this machine share."""
    free = available_bytes()
    total = machine_memory_gb() if free is None else DEFAULT_SHARE * free / GIB
    return total / max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
