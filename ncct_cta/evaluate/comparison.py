"""The evaluation itself: baselines and methods on cases, to figures, files and a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from ..common.folders import writable_folder
from ..common.hu import CONTRAST_LOWER_HU, HUWindow
from ..data import Case
from ..metrics import SYNTHRAD_RANGE, range_name
from ..metrics.similarity import LEAST_SIDE_MS_SSIM, TAPS
from .case_scores import Row
from .columns import columns, headlines
from .missing_masks import complete_masks
from .predictions import remap
from .results import DEFAULT_WINDOW, HU_REMAP, IDENTITY, Evaluation, Method
from .score_files import write_tables
from .scoring import score_cases
from .selection import listed
from .statistics import conclusion, summarise

MASKS = "masks"
# Why a case has no such score, whatever is predicted.
REASONS = {
    f"body_ssim_{range_name(SYNTHRAD_RANGE)}": f"there are fewer than {TAPS} slices, or the body is as small",
    f"body_msssim_{range_name(SYNTHRAD_RANGE)}": f"the body is less than {LEAST_SIDE_MS_SSIM} voxels wide or deep",
    "vessel_cldice": f"the CTA shows no vessel above {CONTRAST_LOWER_HU} HU",
    "lung_vessel_sharpness": "no vessel is marked in the lungs",
}


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
    rows, on_scores = score_cases(completed, compared, window=window, jobs=jobs)
    summary = summarise(rows, columns(window))
    counts = {each.title: min(own[each.name].cases for own in summary.values()) for each in headlines(window)}
    too_few = conclusion(len(cases), counts)
    evaluation = Evaluation(
        cases=tuple(completed),
        methods=compared,
        rows=tuple(rows),
        summary=summary,
        remarks=(*([too_few] if too_few else []), *remarks, *on_masks, *on_scores, *_not_available(rows, window)),
        window=window,
    )
    write_tables(evaluation, folder)
    return evaluation


def _not_available(rows: Sequence[Row], window: HUWindow) -> list[str]:
    """A remark on each score that cases lack for a reason that no other remark gives: missing masks have theirs."""
    remarks = []
    for column in columns(window):
        reason = REASONS.get(column.name)
        lacking = (row for row in rows if row["method"] == IDENTITY and math.isnan(float(row[column.name])))
        cases = [str(row["case"]) for row in lacking]
        if reason and cases:
            remarks.append(f"{column.metric}: n/a for {listed(cases)}, where {reason}.")
    return remarks
