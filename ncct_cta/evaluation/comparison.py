"""The evaluation itself: baselines and methods on cases, to figures, files and a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data import Case
from ..hu import HUWindow
from ..paths import writable_folder
from .columns import columns
from .masks import complete_masks
from .predictions import remap
from .results import DEFAULT_WINDOW, HU_REMAP, IDENTITY, Evaluation, Method
from .scoring import score_cases
from .statistics import conclusion, summarise
from .tables import write_tables

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
        jobs: cases scored side by side; 0: as many as cores and memory allow. It changes no figure.
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
    rows, on_scores = score_cases(completed, compared, window=window, jobs=jobs)
    too_few = conclusion(len(cases))
    evaluation = Evaluation(
        cases=tuple(completed),
        methods=compared,
        rows=tuple(rows),
        summary=summarise(rows, columns(window)),
        remarks=(*([too_few] if too_few else []), *remarks, *on_masks, *on_scores),
        window=window,
    )
    write_tables(evaluation, folder)
    return evaluation
