"""Scores of saved files: every case once, cases side by side where memory allows."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from ..common.errors import InputError
from ..data import Case
from ..metrics import Column
from ..volumes.nifti import read_shape
from .case_scores import CaseScores, score_case
from .resources import available_bytes, usable_cores
from .results import Method

# Memory of a worker: PyTorch and the libraries, and what a voxel of the scan costs while a case is scored
# (benchmarks/evaluate.py measures both).
BYTES_PER_PROCESS, BYTES_PER_VOXEL = 600_000_000, 40
MEMORY_SHARE = 0.8
# Fewer voxels than this are scored before another process has started.
WORTH_A_PROCESS_VOXELS = 20_000_000


def score_cases(
    cases: Sequence[Case], methods: Sequence[Method], *, columns: Sequence[Column], jobs: int = 0
) -> list[CaseScores]:
    """Score every method on every case.

    Args:
        cases: with CTA; a mask that is None leaves its scores n/a.
        methods: each with a prediction of every case.
        columns: the scores. Their metrics' functions are sent to other processes by name: they belong to a module.
        jobs: processes side by side; 0: as many as cores and memory allow. It changes no figure.

    Returns:
        what each case gives, in the cases' order.

    Raises:
        InputError: naming every case whose files can't be scored.
    """
    jobs = min(jobs or planned_jobs(cases, len(methods)), len(cases))
    work = partial(_score_or_say_why, methods=methods, columns=columns)
    found = []
    with tqdm(total=len(cases) * len(methods), desc="score", unit="prediction", leave=False) as bar:
        if jobs == 1:
            found = [work(case, advance=bar.update) for case in cases]
        else:
            for scores in _side_by_side(work, cases, jobs):
                found.append(scores)
                bar.update(len(methods))
    failures = [scores.failure for scores in found if scores.failure] or _duplicates(found, cases)
    if failures:
        raise InputError("; ".join(failures))
    return found


def planned_jobs(cases: Sequence[Case], methods: int) -> int:
    """How many processes are worth their start and fit into the memory that is free."""
    voxels = max(int(np.prod(read_shape(case.ncct))) for case in cases)
    if voxels * methods * len(cases) < WORTH_A_PROCESS_VOXELS:
        return 1
    free = available_bytes()
    fitting = 1 if free is None else int(MEMORY_SHARE * free / (BYTES_PER_PROCESS + BYTES_PER_VOXEL * voxels))
    return max(1, min(usable_cores(), fitting, len(cases)))


def _side_by_side(work: Callable[[Case], CaseScores], cases: Sequence[Case], jobs: int) -> Iterator[CaseScores]:
    # Fresh processes: a forked one would inherit PyTorch's threads in an unknown state.
    threads = max(1, usable_cores() // jobs)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        yield from pool.map(work, cases)


def _score_or_say_why(
    case: Case,
    methods: Sequence[Method],
    columns: Sequence[Column],
    advance: Callable[[int], object] = lambda count: None,
) -> CaseScores:
    """The scores, or why there are none: one error then names all the cases to mend."""
    try:
        return score_case(case, methods, columns, advance)
    except InputError as error:
        return CaseScores(failure=str(error))


def _duplicates(found: Sequence[CaseScores], cases: Sequence[Case]) -> list[str]:
    """Predictions of two cases that are one: at least one of them is in the wrong place."""
    seen: dict[tuple[str, str], str] = {}
    failures = []
    for case, scores in zip(cases, found, strict=True):
        for method, digest in scores.digests.items():
            other = seen.setdefault((method, digest), case.name)
            if other != case.name:
                failures.append(
                    f"method {method}: the predictions of {other} and {case.name} are the same voxel for voxel; one of "
                    "them is misplaced"
                )
    return failures
