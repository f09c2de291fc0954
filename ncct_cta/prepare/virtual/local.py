"""Local levels of a tissue, by normalised convolution: the mean of a mask's voxels around each voxel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# A Gaussian's share of the mask below this says nothing about the voxel: the next wider one is asked.
LEAST_SHARE = 0.01
TRUNCATE = 3.0
STEP_SIGMAS = 2.5  # a Gaussian is sampled at least this often per standard deviation


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
    weight = mask.astype(np.float32)
    masked = weight * hu
    for sigma_mm in sigmas_mm:
        sigma = np.divide(sigma_mm, spacing)
        steps = [max(1, int(width / STEP_SIGMAS)) for width in sigma]
        share, sums = (_smoothed(image, sigma, steps) for image in (weight, masked))
        place = np.ix_(*(np.arange(n) // step for n, step in zip(hu.shape, steps, strict=True)))
        found = unknown & (share > LEAST_SHARE)[place]
        mean[found] = (sums / np.maximum(share, LEAST_SHARE))[place][found]
        unknown &= ~found
        if not unknown.any():
            break
    return mean


def _smoothed(image: np.ndarray, sigma: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Sums over blocks of ``steps`` voxels, smoothed: a wide Gaussian on all voxels takes a minute."""
    for axis, step in enumerate(steps):
        if step > 1:
            image = np.add.reduceat(image, np.arange(0, image.shape[axis], step), axis=axis) / np.float32(step)
    return ndimage.gaussian_filter(image, np.divide(sigma, steps), truncate=TRUNCATE, mode="nearest")


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
