"""Local levels of a tissue, by normalised convolution: the mean of a mask's voxels around each voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# A Gaussian's share of the mask below this says nothing about the voxel: the next wider one is asked.
LEAST_SHARE = 0.01
TRUNCATE = 3.0


def local_mean(
    hu: np.ndarray, mask: np.ndarray, spacing: Sequence[float], sigmas_mm: Sequence[float], default: float
) -> np.ndarray:
    """``G * (mask hu) / G * mask``, Gaussian weights, the narrowest that see enough of the mask.

    Knutsson and Westin, "Normalized and differential convolution", CVPR 1993.

    Args:
        hu: (X, Y, Z) HU.
        mask: the voxels that count, bool.
        spacing: voxel edges in mm.
        sigmas_mm: standard deviations of the Gaussians, ascending.
        default: HU where even the widest sees too little of the mask.

    Returns:
        (X, Y, Z) float32 HU.
    """
    mean = np.full(hu.shape, default, np.float32)
    unknown = np.ones(hu.shape, bool)
    masked = np.where(mask, hu, np.float32(0)).astype(np.float32, copy=False)
    weight = mask.astype(np.float32)
    for sigma_mm in sigmas_mm:
        sigma = np.divide(sigma_mm, spacing)
        share = ndimage.gaussian_filter(weight, sigma, truncate=TRUNCATE, mode="nearest")
        found = unknown & (share > LEAST_SHARE)
        sums = ndimage.gaussian_filter(masked, sigma, truncate=TRUNCATE, mode="nearest")
        mean[found] = sums[found] / share[found]
        unknown &= ~found
    return mean


def dilated(mask: np.ndarray, spacing: Sequence[float], mm: float) -> np.ndarray:
    """A mask grown by ``mm`` along the axes, and by at least one voxel in the slice's plane.

    A box's maximum: a distance transform takes a minute for a whole chest.
    """
    size = [2 * max(round(mm / edge), 1 if axis < 2 else 0) + 1 for axis, edge in enumerate(spacing)]
    grown: np.ndarray = ndimage.maximum_filter(mask.view(np.uint8), size, mode="constant") > 0
    return grown


def eroded(mask: np.ndarray, spacing: Sequence[float], mm: float) -> np.ndarray:
    """A mask shrunk by ``mm``, as ``dilated`` grows; the image's edge doesn't shrink it."""
    return ~dilated(~mask, spacing, mm)
