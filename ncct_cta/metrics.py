"""Regions of a chest CT, errors in HU over them, and the baselines that every result stands beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from scipy import ndimage

from .hu import BONE_LOWER_HU, ENHANCEMENT_HU, LUNG_UPPER_HU, SYNTHRAD_RANGE_HU, to_int16_hu
from .keys import BODY, LUNG, VESSEL

NONVESSEL = "nonvessel"


def body_mask(ncct_hu: np.ndarray) -> np.ndarray:
    """The patient without the air around and without the table.

    The largest soft-tissue component, its holes (lungs, bowel gas) filled slice by slice.

    Args:
        ncct_hu: (X, Y, Z) in HU, Z from foot to head.

    Returns:
        boolean, same shape.
    """
    in_plane = ndimage.generate_binary_structure(2, 1)[..., None]  # a slice at a time: thin slices must not matter
    tissue = ndimage.binary_opening(ncct_hu > LUNG_UPPER_HU, in_plane, iterations=2)
    labels, count = ndimage.label(tissue)
    if count == 0:
        return np.zeros(ncct_hu.shape, bool)
    body = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    for z in range(body.shape[-1]):
        body[..., z] = ndimage.binary_fill_holes(body[..., z])
    return body


def vessel_mask_from_pair(ncct_hu: np.ndarray, cta_hu: np.ndarray) -> np.ndarray:
    """Vessels of an aligned pair: enhanced by more than 80 HU, opened, without bone.

    Args:
        ncct_hu: (X, Y, Z) in HU.
        cta_hu: the aligned CTA, same shape.

    Returns:
        uint8, same shape.
    """
    enhanced = (cta_hu.astype(np.int32) - ncct_hu > ENHANCEMENT_HU) & (ncct_hu < BONE_LOWER_HU)
    return ndimage.binary_opening(enhanced).astype(np.uint8)


def regions(ncct_hu: np.ndarray, lung: np.ndarray, vessel: np.ndarray) -> dict[str, np.ndarray]:
    """The regions of the metric contract: body, lung, vessel, and the body without vessels (what must not change)."""
    vessels = vessel > 0
    body = body_mask(ncct_hu) | (lung > 0) | vessels
    return {BODY: body, LUNG: lung > 0, VESSEL: vessels, NONVESSEL: body & ~vessels}


def mean_absolute_error(prediction_hu: np.ndarray, cta_hu: np.ndarray, mask: np.ndarray) -> float:
    """Mean of ``|prediction - CTA|`` over a mask, in HU; NaN where the mask is empty."""
    if not mask.any():
        return float("nan")
    return float(np.abs(prediction_hu[mask].astype(np.float32) - cta_hu[mask]).mean())


def enhancement_recovery(
    prediction_hu: np.ndarray, ncct_hu: np.ndarray, cta_hu: np.ndarray, vessel: np.ndarray
) -> float:
    """``mean(prediction - NCCT) / mean(CTA - NCCT)`` over vessels: 1 is perfect, 0 is the identity; NaN without any."""
    mask = vessel > 0
    if not mask.any():
        return float("nan")
    ncct = ncct_hu[mask].astype(np.float64)
    true_enhancement = (cta_hu[mask] - ncct).mean()
    return float((prediction_hu[mask] - ncct).mean() / true_enhancement) if true_enhancement else float("nan")


def high_frequency_ratio(prediction_hu: np.ndarray, cta_hu: np.ndarray, mask: np.ndarray) -> float:
    """Sharpness: ``mean((p - blur(p))^2) / mean((y - blur(y))^2)`` over a mask; 1 is as sharp as the CTA.

    ``blur`` is an in-plane Gaussian of one voxel. Blurred edges give less than 1; NaN where the mask is empty.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        cta_hu: the real CTA, same shape.
        mask: where to look, same shape.
    """
    if not mask.any():
        return float("nan")
    energies = []
    for image in (prediction_hu, cta_hu):
        detail = image.astype(np.float32)
        detail -= ndimage.gaussian_filter(detail, sigma=(1, 1, 0))
        energies.append(float(np.square(detail[mask]).mean()))
    return energies[0] / energies[1] if energies[1] else float("nan")


def score(
    prediction_hu: np.ndarray, ncct_hu: np.ndarray, cta_hu: np.ndarray, masks: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Scores of one case: ``{region}_mae_hu``, ``enhancement_recovery``, and the sharpness of the lungs' vessels.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        ncct_hu: the input, same shape.
        cta_hu: the truth, same shape.
        masks: what ``regions`` gives.
    """
    scores = {f"{name}_mae_hu": mean_absolute_error(prediction_hu, cta_hu, mask) for name, mask in masks.items()}
    scores["enhancement_recovery"] = enhancement_recovery(prediction_hu, ncct_hu, cta_hu, masks[VESSEL])
    # The vessels in the lungs and the voxel around them: where blurring shows.
    shell = ndimage.binary_dilation(masks[VESSEL] & masks[LUNG]) & masks[LUNG]
    scores["lung_vessel_sharpness"] = high_frequency_ratio(prediction_hu, cta_hu, shell)
    return scores


class HURemap:
    """The baseline that knows intensities and no anatomy: the training pairs' mean CTA value for each NCCT value."""

    def __init__(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Fit on pairs (NCCT, CTA) of int16 HU arrays; values that no pair holds stay as they are."""
        low, high = SYNTHRAD_RANGE_HU
        size = high - low + 1
        counts, sums = np.zeros(size), np.zeros(size)
        for ncct_hu, cta_hu in pairs:
            inside = (ncct_hu >= low) & (ncct_hu <= high)  # without the -3024 that scanners pad with
            values = ncct_hu[inside].astype(np.int64) - low
            counts += np.bincount(values, minlength=size)
            sums += np.bincount(values, weights=cta_hu[inside], minlength=size)
        identity = np.arange(low, high + 1, dtype=np.float64)
        self.table = to_int16_hu(np.where(counts > 0, sums / np.maximum(counts, 1), identity))

    def __call__(self, ncct_hu: np.ndarray) -> np.ndarray:
        """Predict a CTA in HU, int16, same shape; outside the table the input stays."""
        low, high = SYNTHRAD_RANGE_HU
        values = np.asarray(ncct_hu)
        inside = (values >= low) & (values <= high)
        mapped = self.table[np.clip(values, low, high).astype(np.int64) - low]
        return np.where(inside, mapped, values).astype(np.int16)
