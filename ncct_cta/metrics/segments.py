"""What a segmentation of the user's own finds in prediction and CTA, compared: what a synthetic CTA is used for."""

from __future__ import annotations

import math

import numpy as np

from .case_images import ComparedImages
from .metric import Metric, ratio
from .vessel_overlap import branches, centreline, centreline_dice, dice

NAN = float("nan")
NOTHING = "the segmentation finds nothing in the CTA"


def _dice(images: ComparedImages) -> float:
    found, true = images.once(_masks)
    return dice(found, true) if true.any() else NAN


def _centreline_dice(images: ComparedImages) -> float:
    return centreline_dice(*images.once(_masks), *images.once(_centrelines))


def _volume_ratio(images: ComparedImages) -> float:
    return ratio(*(int(np.count_nonzero(mask)) for mask in images.once(_masks)))


def _branch_ratio(images: ComparedImages) -> float:
    return ratio(*(branches(line, images.case.spacing) for line in images.once(_centrelines)))


def _masks(images: ComparedImages) -> tuple[np.ndarray, np.ndarray]:
    """What is found in the prediction, and in the CTA; empty without a segmentation."""
    nothing = np.zeros(images.prediction.shape, bool)
    return images.segments or (nothing, nothing)


def _centrelines(images: ComparedImages) -> tuple[np.ndarray, np.ndarray]:
    found, true = images.once(_masks)
    return centreline(found), centreline(true)


# Columns of an evaluation with a segmentation only.
METRICS = (
    Metric(
        name="segment_dice",
        compute=_dice,
        title="Dice of your segmentation",
        short="seg. Dice",
        unit="",
        limits=(0, 1),
        better="higher",
        meaning="overlap of what the command given with --segment finds in prediction and CTA",
        missing=NOTHING,
        where="segment",
    ),
    Metric(
        name="segment_cldice",
        compute=_centreline_dice,
        title="centreline Dice of your segmentation",
        short="seg. clDice",
        unit="",
        limits=(0, 1),
        better="higher",
        meaning="the same overlap along the centrelines",
        missing=NOTHING,
        where="segment",
    ),
    Metric(
        name="segment_volume_ratio",
        compute=_volume_ratio,
        title="volume of your segmentation / the CTA's",
        short="seg. volume",
        unit="",
        limits=(0, math.inf),
        better="one",
        meaning="volume of what is found in the prediction over that in the CTA",
        missing=NOTHING,
        where="segment",
    ),
    Metric(
        name="segment_branch_ratio",
        compute=_branch_ratio,
        title="branches of your segmentation / the CTA's",
        short="seg. branches",
        unit="",
        limits=(0, math.inf),
        better="one",
        meaning="number of branches of what is found in the prediction over that in the CTA",
        missing=NOTHING,
        where="segment",
    ),
)
