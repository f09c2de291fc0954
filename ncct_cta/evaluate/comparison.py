"""The evaluation itself: baselines and methods on cases, to figures, files and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..common.folders import writable_folder
from ..common.hu import HUWindow
from ..data import Case
from ..metrics import Column, columns, headlines
from .case_scores import CaseScores
from .missing_masks import complete_masks
from .predictions import remap
from .results import DEFAULT_WINDOW, HU_REMAP, IDENTITY, Evaluation, Method
from .score_files import write_tables
from .scoring import score_cases
from .selection import listed
from .statistics import conclusion, summarise

MASKS = "masks"


def evaluate(
    cases: Sequence[Case],
    methods: Sequence[Method],
    *,
    output: str | Path,
    training: Sequence[Case] = (),
    window: HUWindow = DEFAULT_WINDOW,
    jobs: int = 0,
    remarks: Sequence[str] = (),
) -> Evaluation:
    """Score methods beside the baselines, and write ``scores.csv``, ``summary.csv`` and ``summary.json``.

    Args:
        cases: with NCCT and CTA; masks that aren't given are computed and written under ``output``.
        methods: each with a prediction of every case, in HU on the NCCT's grid.
        output: the folder to write to; made if missing.
        training: pairs, none of them among ``cases``, to fit the HU remap on; without any it is left out.
        window: the range of PSNR and SSIM beside SynthRAD's.
        jobs: cases scored side by side; 0: as many as cores and memory allow. It changes no figure. Other processes
            import the calling script: it needs Python's ``if __name__ == "__main__"``.
        remarks: plain sentences that belong to the result.

    Raises:
        InputError: if a file can't be used or the folder can't be written.
    """
    folder = writable_folder(output)
    completed, on_masks = complete_masks(cases, folder / MASKS)
    baselines = [Method(IDENTITY, {case.name: case.ncct for case in cases})]
    if training:
        baselines.append(remap(training, cases, folder / HU_REMAP))
    compared = (*baselines, *methods)
    scored = score_cases(completed, compared, columns=columns(window), jobs=jobs)
    rows = tuple(row for found in scored for row in found.rows)
    on_scores = [remark for found in scored for remark in found.remarks]
    on_missing = _not_available(completed, scored, columns(window))
    summary = summarise(rows, columns(window))
    counts = {each.title: min(own[each.name].cases for own in summary.values()) for each in headlines(window)}
    too_few = conclusion(len(cases), counts)
    evaluation = Evaluation(
        cases=tuple(completed),
        methods=compared,
        rows=rows,
        summary=summary,
        remarks=(*([too_few] if too_few else []), *remarks, *on_masks, *on_scores, *on_missing),
        window=window,
    )
    write_tables(evaluation, folder)
    return evaluation


def _not_available(cases: Sequence[Case], scored: Sequence[CaseScores], columns: Sequence[Column]) -> list[str]:
    """A remark on the scores that cases lack for a reason that no other remark gives: empty regions have theirs."""
    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for metric in dict.fromkeys(column.metric for column in columns):
        names = {column.name for column in columns if column.metric == metric}
        without = tuple(case.name for case, found in zip(cases, scored, strict=True) if found.missing & names)
        if without:
            lacking.setdefault((metric.missing, without), []).append(metric.short)
    return [
        f"{', '.join(metrics)}: n/a for {listed(without)}, where {reason}."
        for (reason, without), metrics in lacking.items()
    ]
