"""The demo's verdict on its scores, and the picture of a held-out case."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..common.panels import axial, panel_figure, richest_slice, save_figure
from ..data import Case
from ..evaluate.results import HU_REMAP, IDENTITY, Evaluation
from ..volumes.nifti import read_ct, read_mask
from ..volumes.orientation import to_ras

WIDTH = 100  # of a terminal
# What the demo's generator must reach, relative to the identity.
VESSEL_SHARE, NONVESSEL_EXCESS_HU = 0.4, 3.0
REMEDY = " Train longer (--steps) or on more patients (--cases)."

Means = Mapping[str, Mapping[str, float]]


def means(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """The mean of every score by method, as in ``summary.json``; NaN if there is none."""
    return {
        method: {column: statistic.mean for column, statistic in statistics.items()}
        for method, statistics in evaluation.summary.items()
    }


def verdict(methods: Means, trained: Sequence[str]) -> str:
    """Say whether the trained methods reach the demo's targets."""
    identity, remap = methods[IDENTITY], methods[HU_REMAP]
    paragraphs = []
    for name in trained:
        share = methods[name]["vessel_mae_hu"] / identity["vessel_mae_hu"]
        excess = methods[name]["nonvessel_mae_hu"] - identity["nonvessel_mae_hu"]
        beats_remap = methods[name]["vessel_mae_hu"] < remap["vessel_mae_hu"]
        reached = share <= VESSEL_SHARE and beats_remap and excess <= NONVESSEL_EXCESS_HU
        text = (
            f"{name} {'reaches what it should' if reached else 'DOES NOT REACH what it should'}: its error in the "
            f"vessels is {share:.0%} of the identity's (at most {VESSEL_SHARE:.0%}) and "
            f"{'below' if beats_remap else 'not below'} the HU remap's; in the body without vessels it is "
            f"{abs(excess):.1f} HU {'above' if excess > 0 else 'below'} the identity's (at most "
            f"{NONVESSEL_EXCESS_HU:g} above).{'' if reached else REMEDY}"
        )
        paragraphs.append(textwrap.fill(text, WIDTH))
    return "\n".join(paragraphs)


def write_preview(case: Case, predictions: Mapping[str, Path], path: Path) -> None:
    """Draw a case's NCCT, saved predictions, CTA and errors in the slice with most of the lungs' vessels.

    Args:
        case: with CTA and both masks.
        predictions: by method, its file; the last one's error is drawn.
        path: of the PNG.
    """
    volume = read_ct(case.ncct)
    lung, vessel = (to_ras(read_mask(_given(mask), volume), volume.affine)[0] > 0 for mask in (case.lung, case.vessel))
    z = richest_slice(lung & vessel)
    images = {"NCCT": case.ncct, **predictions}
    figure = panel_figure(
        {name: axial(_read_ras(file), z) for name, file in images.items()},
        axial(_read_ras(_given(case.cta)), z),
        title=f"Held-out {case.name}, axial slice {z + 1} of {lung.shape[2]}",
        aspect=volume.spacing[1] / volume.spacing[0],
    )
    save_figure(figure, path)


def _read_ras(path: Path) -> np.ndarray:
    volume = read_ct(path)
    return to_ras(volume.array, volume.affine)[0]


def _given(path: Path | None) -> Path:
    if path is None:
        raise ValueError("a case of the demo has no CTA or mask")
    return path
