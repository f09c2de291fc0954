"""Is the CTA's fine detail there, or was it blurred away? Noise is no detail, however much energy it has."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from ..common.keys import LUNG, VESSEL
from .case_images import CaseImages, ComparedImages
from .metric import Metric, ratio


def detail(image_hu: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``image - blur(image)`` in a mask's voxels, (n,) float32, in HU; ``blur`` is an in-plane Gaussian of one voxel.

    Args:
        image_hu: (X, Y, Z) in HU.
        mask: where to look, boolean, same shape.
    """
    found = image_hu.astype(np.float32)
    found -= ndimage.gaussian_filter(found, sigma=(1, 1, 0))
    return found[mask]


def detail_projection(predicted: np.ndarray, true: np.ndarray) -> float:
    """``<predicted, true> / <true, true>`` of two images' detail: 1 is all of the CTA's, 0 none; NaN without any.

    Noise of the prediction is orthogonal to the CTA's detail in expectation, so it changes nothing. Noise of the CTA is
    part of its detail, which no prediction can know: without it the best one has 1 - (the noise's share of the energy).

    Args:
        predicted: the prediction's, as ``detail`` returns it.
        true: the CTA's, same shape.
    """
    return ratio(float(np.dot(predicted, true)), float(np.dot(true, true)))


def _projection(images: ComparedImages) -> float:
    return detail_projection(images.once(_of_prediction), images.case.once(_of_cta))


def _energy(images: ComparedImages) -> float:
    predicted, true = images.once(_of_prediction), images.case.once(_of_cta)
    return ratio(float(np.dot(predicted, predicted)), float(np.dot(true, true)))


def _of_prediction(images: ComparedImages) -> np.ndarray:
    return detail(images.prediction, images.case.once(_lung_vessel_shell)).astype(np.float64)


def _of_cta(case: CaseImages) -> np.ndarray:
    return detail(case.cta, case.once(_lung_vessel_shell)).astype(np.float64)


def _lung_vessel_shell(case: CaseImages) -> np.ndarray:
    """The vessels in the lungs and the voxel around them: where blurring shows."""
    lung, vessel = case.masks[LUNG], case.masks[VESSEL]
    return ndimage.binary_dilation(vessel & lung) & lung


NO_VESSEL = "no vessel is marked in the lungs"
METRICS = (
    Metric(
        name="lung_vessel_detail",
        compute=_projection,
        title="detail found of the CTA's, vessels in the lungs",
        short="detail",
        unit="",
        limits=(-math.inf, math.inf),
        better="one",
        meaning="share of the CTA's fine detail at the vessels in the lungs that is in its place: below 1 is blurred",
        missing=NO_VESSEL,
        where="lung",
    ),
    # Noise has energy too, so no value is best.
    Metric(
        name="lung_vessel_energy",
        compute=_energy,
        title="energy of the detail / the CTA's, vessels in the lungs",
        short="energy",
        unit="",
        limits=(0, math.inf),
        better="neither",
        meaning="energy of the fine detail at the vessels in the lungs over the CTA's; above the detail found: made up",
        missing=NO_VESSEL,
        where="lung",
    ),
)
