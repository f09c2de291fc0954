"""The error in the vessels in two parts: how strong the contrast is, which the injection decides, and where it is."""

from __future__ import annotations

import math

import numpy as np

from ..common.keys import VESSEL
from .case_images import ComparedImages
from .metric import Metric, ratio


def level(predicted: np.ndarray, true: np.ndarray) -> float:
    """``<predicted, true> / <true, true>``: the least-squares slope of a prediction's enhancement on the CTA's.

    Args:
        predicted: prediction - NCCT in the vessels, (n,) in HU.
        true: CTA - NCCT there, same shape.

    Returns:
        1 is perfect, 0 adds no contrast; NaN where the CTA adds none.
    """
    return ratio(float(np.dot(predicted, true)), float(np.dot(true, true)))


def shape_error(predicted: np.ndarray, true: np.ndarray) -> float:
    """``mean |gain * predicted - true|`` in HU, with the one gain from 0 on that fits the CTA best (least squares).

    The gain is applied to the prediction: if the CTA were scaled down to it instead, a prediction without any contrast
    would be perfect. With no contrast, or contrast in the wrong places, the gain is 0 and this is the identity's error.

    Args:
        predicted: prediction - NCCT in the vessels, (n,) in HU.
        true: CTA - NCCT there, same shape.
    """
    energy = float(np.dot(predicted, predicted))
    gain = max(0.0, float(np.dot(predicted, true)) / energy) if energy else 0.0
    return float(np.abs(gain * predicted - true).mean())


def _level(images: ComparedImages) -> float:
    return level(*images.once(_enhancements))


def _shape_error(images: ComparedImages) -> float:
    return shape_error(*images.once(_enhancements))


def _enhancements(images: ComparedImages) -> tuple[np.ndarray, np.ndarray]:
    case = images.case
    vessels = case.masks[VESSEL]
    ncct = case.ncct[vessels].astype(np.float64)
    return images.prediction[vessels] - ncct, case.cta[vessels] - ncct


NO_CONTRAST = "the CTA adds no contrast"
METRICS = (
    Metric(
        name="vessel_shape_mae_hu",
        compute=_shape_error,
        title="shape error, vessels",
        short="shape",
        unit="HU",
        limits=(0, math.inf),
        better="lower",
        meaning="MAE in the vessels after one gain a case on the prediction's contrast: its strength doesn't matter",
        missing=NO_CONTRAST,
        region=VESSEL,
    ),
    Metric(
        name="vessel_level",
        compute=_level,
        title="level of the contrast, vessels",
        short="level",
        unit="",
        limits=(-math.inf, math.inf),
        better="one",
        meaning="least-squares slope of prediction - NCCT on CTA - NCCT in the vessels: 0 adds no contrast",
        missing=NO_CONTRAST,
        region=VESSEL,
    ),
)
