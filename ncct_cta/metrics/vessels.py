"""What makes a CTA: contrast in the vessels, their contrast-to-noise ratio, their course and their sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize

from ..common.hu import ENHANCEMENT_HU

NAN = float("nan")
BLOCK_MM = 20.0  # regions of the recovery's spread: large against noise, small against the aorta
LEAST_BLOCK_MM3 = 200.0


def enhancement_recovery(
    prediction_hu: np.ndarray, ncct_hu: np.ndarray, cta_hu: np.ndarray, vessel: np.ndarray
) -> float:
    """``mean(prediction - NCCT) / mean(CTA - NCCT)`` over vessels: 1 is perfect, 0 is the identity; NaN without any."""
    mask = vessel > 0
    if not mask.any():
        return NAN
    ncct = ncct_hu[mask].astype(np.float64)
    true_enhancement = (cta_hu[mask] - ncct).mean()
    return float((prediction_hu[mask] - ncct).mean() / true_enhancement) if true_enhancement else NAN


def enhancement_recovery_spread(
    prediction_hu: np.ndarray,
    ncct_hu: np.ndarray,
    cta_hu: np.ndarray,
    vessel: np.ndarray,
    spacing: Sequence[float],
) -> float:
    """How unevenly the enhancement is recovered: the SD of the recovery over the vessels' regions.

    The volume is cut into cubes of ``BLOCK_MM``; in each that holds ``LEAST_BLOCK_MM3`` of vessels which enhance by
    80 HU or more, the recovery is ``mean(prediction - NCCT) / mean(CTA - NCCT)``. Single voxels are not compared: there
    noise divides noise. Each cube weighs as much as it holds vessel.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        ncct_hu: the input, same shape.
        cta_hu: the truth, same shape.
        vessel: vessel mask, same shape.
        spacing: voxel edges in mm.

    Returns:
        0 for a recovery that is the same everywhere, also if it is 0; NaN with fewer than two such cubes.
    """
    mask = vessel > 0
    where = np.nonzero(mask)
    cubes = [(axis * edge // BLOCK_MM).astype(np.int64) for axis, edge in zip(where, spacing, strict=True)]
    cube = np.ravel_multi_index(
        cubes, [int(n * edge // BLOCK_MM) + 1 for n, edge in zip(mask.shape, spacing, strict=True)]
    )
    ncct = ncct_hu[where].astype(np.float64)
    counts = np.bincount(cube)
    predicted, true = (np.bincount(cube, weights=image[where] - ncct) for image in (prediction_hu, cta_hu))
    kept = (counts * float(np.prod(spacing)) >= LEAST_BLOCK_MM3) & (true >= ENHANCEMENT_HU * counts)
    if np.count_nonzero(kept) < 2:
        return NAN
    recovery, weights = predicted[kept] / true[kept], counts[kept]
    mean = np.average(recovery, weights=weights)
    return float(np.sqrt(np.average(np.square(recovery - mean), weights=weights)))


def contrast_to_noise_ratio(image_hu: np.ndarray, vessel: np.ndarray, beside: np.ndarray) -> float:
    """``(mean over vessels - mean over the tissue beside them) / SD of that tissue``.

    The definition of CTA studies, with the soft tissue beside the vessels for the background.

    Args:
        image_hu: a CTA, real or synthetic, in HU, (X, Y, Z).
        vessel: boolean, same shape.
        beside: the background, boolean, same shape; see ``regions.tissue_beside``.

    Returns:
        NaN where a mask is empty or the tissue has no noise at all.
    """
    if not vessel.any() or not beside.any():
        return NAN
    tissue = image_hu[beside].astype(np.float64)
    noise = float(tissue.std())
    return float((image_hu[vessel].mean(dtype=np.float64) - tissue.mean()) / noise) if noise else NAN


def dice(found: np.ndarray, true: np.ndarray) -> float:
    """``2 |A and B| / (|A| + |B|)`` of boolean masks; NaN where both are empty."""
    size = int(np.count_nonzero(found)) + int(np.count_nonzero(true))
    return 2 * int(np.count_nonzero(found & true)) / size if size else NAN


def centreline(mask: np.ndarray) -> np.ndarray:
    """The 3-D skeleton of a boolean mask, boolean (Lee, Kashyap and Chu, CVGIP 1994, by scikit-image)."""
    skeleton = np.zeros(mask.shape, bool)
    sides = ndimage.find_objects(mask.view(np.uint8))
    if sides:
        skeleton[sides[0]] = skeletonize(mask[sides[0]]) > 0
    return skeleton


def centreline_dice(found: np.ndarray, true: np.ndarray, true_centreline: np.ndarray) -> float:
    """Centreline Dice, clDice (Shit et al., CVPR 2021): do the vessels run where they should, whatever their width?

    The harmonic mean of the part of the found vessels' centreline that lies in the true vessels, and of the part of the
    true centreline that lies in the found ones.

    Args:
        found: boolean, (X, Y, Z).
        true: boolean, same shape.
        true_centreline: ``centreline(true)``, same shape.

    Returns:
        0 where nothing is found, NaN where there is nothing to find.
    """
    if not true.any():
        return NAN
    found_centreline = centreline(found)
    precision = _part_inside(found_centreline, true)
    sensitivity = _part_inside(true_centreline, found)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


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


def ratio(above: float, below: float) -> float:
    """``above / below``; NaN where there is nothing to divide by."""
    return above / below if below else NAN


def _part_inside(line: np.ndarray, mask: np.ndarray) -> float:
    voxels = int(np.count_nonzero(line))
    return int(np.count_nonzero(line & mask)) / voxels if voxels else 0.0
