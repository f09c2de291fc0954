"""Score saved files, case by case, with cases in parallel if memory allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..common.bulk import Job
from ..common.cluster import GB, run_on_cluster
from ..common.errors import InputError
from ..common.progress import progress_bar
from ..common.resources import available_bytes, usable_cores
from ..data import Case
from ..metrics import Column
from ..volumes.nifti import read_shape
from .case_scores import CaseScores, score_case
from .failures import NO_MEMORY, Failure, failure_of
from .processes import side_by_side
from .results import Method

# Memory of a worker: PyTorch and the libraries, plus the bytes per voxel while a case is scored
# (benchmarks/evaluate.py measures both).
BYTES_PER_PROCESS, BYTES_PER_VOXEL = 600_000_000, 52
MEMORY_SHARE = 0.8
# Fewer voxels than this are scored faster than another process starts.
WORTH_A_PROCESS_VOXELS = 20_000_000


def score_cases(
    cases: Sequence[Case], methods: Sequence[Method], *, columns: Sequence[Column], jobs: int = 0, scheduler: str = ""
) -> list[CaseScores]:
    """Score every method on every case.

    Args:
        cases: with CTA; a mask that is None leaves its scores n/a.
        methods: each with a prediction of every case.
        columns: the scores. Their metrics' functions are sent to other processes by name: they belong to a module.
        jobs: processes side by side; 0: as many as cores and memory allow. It changes no figure.
        scheduler: of a dask cluster that scores them instead.

    Returns:
        what each case gives, in the cases' order; where a case can't be scored, why.
    """
    if scheduler:
        return _without_duplicates(_scores_of_cluster(cases, methods, columns, scheduler), cases)
    jobs = min(jobs or planned_jobs(cases, len(methods)), len(cases))
    work = partial(_score_or_say_why, methods=methods, columns=columns)
    found = []
    with progress_bar(total=len(cases) * len(methods), desc="score", unit="prediction", leave=False) as bar:
        if jobs == 1:
            found = [work(case, advance=bar.update) for case in cases]
        else:
            for scores in side_by_side(work, cases, jobs, _died):
                found.append(scores)
                bar.update(len(methods))
    return _without_duplicates(found, cases)


def _scores_of_cluster(
    cases: Sequence[Case], methods: Sequence[Method], columns: Sequence[Column], scheduler: str
) -> list[CaseScores]:
    """Score each case on a worker of a dask cluster, which is sent what this case needs of the methods."""
    memory_gb = {case.name: (BYTES_PER_PROCESS + BYTES_PER_VOXEL * _voxels(case)) / GB for case in cases}
    jobs = [
        Job(case.name, (case, [_of_case(method, case.name) for method in methods], columns), memory_gb[case.name])
        for case in cases
    ]
    found: dict[str, CaseScores] = {}
    failures = run_on_cluster(jobs, _score_there, scheduler, done=found.__setitem__, title="score")
    for name, reason in failures.items():
        found[name] = CaseScores(failure=Failure(f"case {name}: {reason}"))
    return [found[case.name] for case in cases]


def _of_case(method: Method, case: str) -> Method:
    """A method with one case's files: with all of them, what is sent would grow with the cases' square."""
    segments = {name: files for name, files in method.segments.items() if name == case}
    return replace(method, predictions={case: method.predictions[case]}, segments=segments)


def _score_there(task: tuple[Case, Sequence[Method], Sequence[Column]], report: Callable[[str], Any]) -> CaseScores:
    """Score a case; on a dask worker."""
    return _score_or_say_why(*task)


def planned_jobs(cases: Sequence[Case], methods: int) -> int:
    """Return the number of processes that are worth starting and fit into the free memory."""
    voxels = max(map(_voxels, cases))
    if voxels * methods * len(cases) < WORTH_A_PROCESS_VOXELS:
        return 1
    free = available_bytes()
    fitting = 1 if free is None else int(MEMORY_SHARE * free / (BYTES_PER_PROCESS + BYTES_PER_VOXEL * voxels))
    return max(1, min(usable_cores(), fitting, len(cases)))


def _voxels(case: Case) -> int:
    try:
        return math.prod(read_shape(case.ncct))
    except InputError:  # the case's failure, once it is read
        return 0


def _score_or_say_why(
    case: Case,
    methods: Sequence[Method],
    columns: Sequence[Column],
    advance: Callable[[int], object] = lambda count: None,
) -> CaseScores:
    """The scores, or why there are none, whatever was raised: the other cases go on."""
    try:
        return score_case(case, methods, columns, advance)
    except Exception as error:
        return CaseScores(failure=failure_of(case.name, error))


def _died(case: Case) -> CaseScores:
    return CaseScores(failure=Failure(f"case {case.name}: its process was killed; {NO_MEMORY}"))


def _without_duplicates(found: Sequence[CaseScores], cases: Sequence[Case]) -> list[CaseScores]:
    """Predictions of two cases that are one fail both: at least one of them is in the wrong place."""
    kept = list(found)
    seen: dict[tuple[str, str], int] = {}
    for number, scores in enumerate(found):
        for method, digest in scores.digests.items():
            first = seen.setdefault((method, digest), number)
            if first != number:
                failure = Failure(
                    f"method {method}: the predictions of {cases[first].name} and {cases[number].name} are the same "
                    "voxel for voxel; one of them is misplaced"
                )
                kept[first] = kept[number] = CaseScores(failure=failure)
    return kept
