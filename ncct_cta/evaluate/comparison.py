"""The evaluation itself: score baselines and methods on cases, and write the results."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from ..common.folders import writable_folder
from ..common.hu import HUWindow
from ..data import Case
from ..metrics import Column, columns, headlines
from .case_scores import CaseScores
from .failures import Failure, log_failures, require_none
from .missing_masks import complete_masks
from .predictions import remap
from .results import DEFAULT_WINDOW, HU_REMAP, IDENTITY, Evaluation, Method, Statistic
from .score_files import write_tables
from .scoring import score_cases
from .segmentation import Segmentation, segment_all
from .selection import listed
from .statistics import conclusion, summarise

MASKS, SEGMENTS = "masks", "segments"


def evaluate(
    cases: Sequence[Case],
    methods: Sequence[Method],
    *,
    output: str | Path,
    training: Sequence[Case] = (),
    window: HUWindow = DEFAULT_WINDOW,
    jobs: int = 0,
    remarks: Sequence[str] = (),
    failures: Mapping[str, Failure] | None = None,
    segmentation: Segmentation | None = None,
    scheduler: str = "",
) -> Evaluation:
    """Score methods and baselines, and write ``scores.csv``, ``summary.csv`` and ``summary.json``.

    A case that can't be scored doesn't stop the others: it is left out of the figures, named in the remarks and kept
    in ``Evaluation.failures``; ``require_none`` raises what there is to say of them.

    Args:
        cases: with NCCT and CTA; missing masks are computed and written under ``output``.
        methods: each with a prediction of every case, on the NCCT's grid.
        output: the folder to write to; made if missing.
        training: pairs to fit the HU remap on, none of them in ``cases``; without any there is no HU remap.
        window: the range for PSNR and SSIM in addition to SynthRAD's.
        jobs: cases scored side by side; 0: as many as cores and memory allow. It doesn't change the results. Worker
            processes import the calling script, which therefore needs ``if __name__ == "__main__"``.
        remarks: plain sentences to add to the result.
        failures: of cases that failed before, which are not among ``cases``.
        segmentation: the user's own, to compare what it finds in predictions and CTAs.
        scheduler: of a dask cluster that scores the cases instead.

    Raises:
        InputError: if no case can be scored or the folder can't be written.
    """
    folder = writable_folder(output)
    failed = dict(failures or {})
    count = len(cases) + len(failed)
    completed, on_masks = complete_masks(cases, folder / MASKS, failed)
    baselines, on_baselines = _baselines(completed, training, folder, failed)
    compared = [*baselines, *methods]
    if segmentation is not None:
        unfailed = [case for case in completed if case.name not in failed]
        compared = segment_all(segmentation, unfailed, compared, folder / SEGMENTS, failed)
    scored_columns = columns(window, segmented=segmentation is not None)
    kept = [case for case in completed if case.name not in failed]
    scored = _scored(kept, compared, failed, columns=scored_columns, jobs=jobs, scheduler=scheduler)
    log_failures(failed, count)
    if not scored:
        require_none(failed, count)
    rows = tuple(row for _, scores in scored for row in scores.rows)
    named = {method.name for method in compared if method.is_baseline}
    summary = summarise(rows, scored_columns, baselines=named)
    on_scores = [remark for _, scores in scored for remark in scores.remarks]
    on_missing = _not_available(scored, scored_columns)
    on_cohort = [
        *_on_virtual([case for case, _ in scored]),
        *_on_number(summary, len(scored), failed, window),
    ]
    all_remarks = (*on_cohort, *remarks, *on_baselines, *on_masks, *on_scores)
    evaluation = Evaluation(
        cases=tuple(case for case, _ in scored),
        methods=tuple(compared),
        rows=rows,
        summary=summary,
        remarks=(*all_remarks, *on_missing),
        window=window,
        failures=failed,
    )
    write_tables(evaluation, folder)
    return evaluation


def _baselines(
    cases: Sequence[Case], training: Sequence[Case], folder: Path, failures: MutableMapping[str, Failure]
) -> tuple[list[Method], list[str]]:
    """The identity, and the HU remap where there are pairs to fit it on; remarks on pairs that can't be used."""
    identity = Method(IDENTITY, {case.name: case.ncct for case in cases})
    if not training or not cases:
        return [identity], []
    fitted, unusable = remap(training, cases, folder / HU_REMAP, failures)
    remarks = [f"HU remap: fitted without {name}. {failure.reason}" for name, failure in unusable.items()]
    if fitted is None:
        return [identity], [*remarks, "HU remap: n/a, because no training pair can be read."]
    return [identity, fitted], remarks


def _scored(
    cases: Sequence[Case],
    methods: Sequence[Method],
    failures: MutableMapping[str, Failure],
    **choices: Any,
) -> list[tuple[Case, CaseScores]]:
    """The cases that can be scored, with their scores; the others join the failures."""
    if not cases:
        return []
    found = list(zip(cases, score_cases(cases, methods, **choices), strict=True))
    failures.update({case.name: scores.failure for case, scores in found if scores.failure is not None})
    return [(case, scores) for case, scores in found if scores.failure is None]


def _on_number(
    summary: Mapping[str, Mapping[str, Statistic]], cases: int, failures: Mapping[str, Failure], window: HUWindow
) -> list[str]:
    """Remarks on what is left out of the figures, and on figures of too few cases."""
    counts = {each.title: min(own[each.name].cases for own in summary.values()) for each in headlines(window)}
    too_few = conclusion(cases, counts)
    return [*(f"Not scored: {failure.reason}" for failure in failures.values()), *([too_few] if too_few else [])]


def _on_virtual(cases: Sequence[Case]) -> list[str]:
    """A remark on cases whose NCCT was made from the CTA: their figures say nothing about patients."""
    made = [case.name for case in cases if case.virtual]
    if not made:
        return []
    return [
        f"Virtual: the NCCT of {len(made)} of {len(cases)} cases was made from the CTA by taking its iodine out "
        f"({listed(made)}); their figures say nothing about real NCCTs."
    ]


def _not_available(scored: Sequence[tuple[Case, CaseScores]], columns: Sequence[Column]) -> list[str]:
    """A remark on the scores that cases lack for a reason that no other remark gives: empty regions have theirs."""
    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for metric in dict.fromkeys(column.metric for column in columns):
        names = {column.name for column in columns if column.metric == metric}
        without = tuple(case.name for case, scores in scored if scores.missing & names)
        if without:
            lacking.setdefault((metric.missing, without), []).append(metric.short)
    return [
        f"{', '.join(metrics)}: n/a for {listed(without)}, where {reason}."
        for (reason, without), metrics in lacking.items()
    ]
