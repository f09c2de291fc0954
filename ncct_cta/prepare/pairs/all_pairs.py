"""Prepare all pairs of a list, and write their common results."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

from ...common.bulk import GIB
from ...common.errors import InputError, fault_in_words
from ...common.folders import locked_folder, writable_folder
from ...common.progress import progress_bar
from ..cohort import Budget, Outcome, prepare_cases, summary, write_outcome
from ..scan_source import most_voxels
from ..splits import check_shares
from .one_pair import prepare_case
from .pair_list import Pair, PairList, ScanFinder, read_pairs
from .report import REPORT
from .task import PreparationSettings, Task

logger = logging.getLogger(__name__)

# Measured peak memory of a case: a base for the libraries, plus bytes per voxel of NCCT and CTA.
BASE_GB, BYTES_A_VOXEL = 0.9, 40.0


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
    budget = Budget(options.jobs, options.memory_gb, options.scheduler)
    pairs = read_pairs(options.pairs, options.accept)
    with locked_folder(writable_folder(options.output)):
        outcome = prepare_all(pairs, options.output, settings, budget)
        write_outcome(outcome, options.output, REPORT, shares=options.split, seed=options.seed, kinds=Task.kinds)
    print(summary(outcome, options.output, given=len(pairs.pairs), unused=pairs.unused))
    return len(outcome.failures)


def prepare_all(pairs: PairList, output: Path, settings: PreparationSettings, budget: Budget) -> Outcome:
    """Prepare every pair that isn't finished with these settings and sources; a failure doesn't stop the others."""
    tasks, failures = _tasks(pairs, output, settings)
    accepted = {pair.case for pair in pairs.pairs if pair.accepted}
    outcome = prepare_cases(tasks, prepare_case, _estimate_gb, budget, accepted)
    return replace(outcome, failures={**failures, **outcome.failures})


def _tasks(pairs: PairList, output: Path, settings: PreparationSettings) -> tuple[list[Task], dict[str, str]]:
    """What there is to do; and of the pairs whose scans can't be found, why."""
    finder = ScanFinder(pairs.folder)
    failures: dict[str, str] = {}
    tasks: list[Task] = []
    for pair in progress_bar(pairs.pairs, desc="sources", unit="case"):
        try:
            tasks.append(_task(pair, finder, output, settings))
        except InputError as error:
            failures[pair.case] = str(error)
        except Exception as error:  # that nobody foresaw: this case's failure, not the list's
            failures[pair.case] = fault_in_words(error)
    return tasks, failures


def _task(pair: Pair, finder: ScanFinder, output: Path, settings: PreparationSettings) -> Task:
    ncct, cta = (finder.find(getattr(pair, kind), case=pair.case, kind=kind) for kind in ("ncct", "cta"))
    for source in (ncct, cta):
        if source.series is not None and source.series.remark:
            logger.warning("case %s: %s: %s", pair.case, source.label, source.series.remark)
    return Task(pair.case, pair.patient, output, settings, ncct, cta)


def _estimate_gb(task: Task) -> float:
    """Estimate the peak memory of a case."""
    return BASE_GB + BYTES_A_VOXEL * sum(most_voxels(source) for source in (task.ncct, task.cta)) / GIB
