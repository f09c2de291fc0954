"""Is the fine detail of the CTA there, or was it blurred away?"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from ..common.keys import LUNG, VESSEL
from .case_images import CaseImages, ComparedImages
from .metric import Metric, ratio

NAN = float("nan")


def high_frequency_energy(image_hu: np.ndarray, mask: np.ndarray) -> float:
    """``mean((image - blur(image))^2)`` over a mask, in HU^2; NaN where it is empty.

    ``blur`` is an in-plane Gaussian of one voxel.

    Args:
        image_hu: (X, Y, Z) in HU.
        mask: where to look, same shape.
    """
    if not mask.any():
        return NAN
    detail = image_hu.astype(np.float32)
    detail -= ndimage.gaussian_filter(detail, sigma=(1, 1, 0))
    return float(np.square(detail[mask]).mean(dtype=np.float64))


def _sharpness(images: ComparedImages) -> float:
    energy = high_frequency_energy(images.prediction, images.case.once(_lung_vessel_shell))
    return ratio(energy, images.case.once(_energy_of_cta))


def _energy_of_cta(case: CaseImages) -> float:
    return high_frequency_energy(case.cta, case.once(_lung_vessel_shell))


def _lung_vessel_shell(case: CaseImages) -> np.ndarray:
    """The vessels in the lungs and the voxel around them: where blurring shows."""
    lung, vessel = case.masks[LUNG], case.masks[VESSEL]
    return ndimage.binary_dilation(vessel & lung) & lung


METRICS = (
    Metric(
        name="lung_vessel_sharpness",
        compute=_sharpness,
        title="sharpness / the CTA's, vessels in the lungs",
        short="sharpness",
        unit="",
        limits=(0, math.inf),
        better="one",
        meaning="fine detail at the vessels in the lungs over the CTA's: below 1 is blurred",
        missing="no vessel is marked in the lungs",
        where="lung",
    ),
)
