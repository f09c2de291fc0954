"""Take the iodine out of a contrast CT, so that neither edges nor noise mark where it was.

A voxel of which blood fills the fraction ``f`` has ``v = f B + (1 - f) b + n``: the enhanced blood's level ``B``, the
background's ``b`` and the scan's noise ``n``. Without iodine it has ``v' = v - f (B - U)``, with the blood's own level
``U``. Inside a vessel ``f`` is 1 and the noise stays as it is. At its wall ``f = (v - b) / (B - b)`` is read from the
voxel itself, and then ``v' = b + (v - b) (U - b) / (B - b)``: the noise is scaled by ``g = (U - b) / (B - b)``, and
noise of the scan's spectrum and of the strength ``sqrt(1 - g^2)`` takes the place of what was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...common.hu import LUNG_UPPER_HU, WATER_HU
from .local import dilated, eroded, local_mean

WALL_MM = 1.5  # partial volume and the reconstruction's blur reach this far to either side of a wall
LEVEL_MM = (2.0, 5.0)  # how fast contrast mixes: arteries and veins, left and right heart differ and lie side by side
PEAK_MM, PEAK_REACH_MM = 0.4, 2.5  # a small vessel's level is its brightest voxel's, less noise
BACKGROUND_MM = (1.0, 2.0, 5.0, 15.0)
DIMMEST = 10  # percentile of the large vessels' level
TYPICAL_LUNG_HU = -850.0
LEAST_CONTRAST_HU = 40.0  # blood no brighter than this above its background is read as blood alone


@dataclass(frozen=True)
class Removal:
    """What taking iodine out does to a scan.

    Args:
        hu: (X, Y, Z) float32, without iodine.
        lost: (X, Y, Z) float32, 0 to 1: the share of the noise's standard deviation to be put back.
    """

    hu: np.ndarray
    lost: np.ndarray


def remove_iodine(
    hu: np.ndarray,
    enhanced: np.ndarray,
    kept: np.ndarray,
    lung: np.ndarray,
    spacing: Sequence[float],
    *,
    level_hu: float,
    target_hu: np.ndarray | float,
) -> Removal:
    """Bring an enhanced tissue to its unenhanced level, with its walls.

    Args:
        hu: (X, Y, Z) float32 HU.
        enhanced: blood, or organs that took up contrast; bool.
        kept: voxels that stay as they are: bone, calcium.
        lung: both lungs, bool.
        spacing: voxel edges in mm.
        level_hu: the enhanced tissue's level, where too little of it is near to measure it.
        target_hu: its unenhanced level: one, or one of each voxel.
    """
    core = eroded(enhanced, spacing, WALL_MM / 2) & ~kept
    near = dilated(enhanced, spacing, WALL_MM)
    wall = near & ~core & ~kept
    level = _level(hu, enhanced & ~kept, core, spacing, level_hu)
    background = _background(hu, ~near & ~kept, lung, spacing)
    target = np.broadcast_to(np.asarray(target_hu, np.float32), hu.shape)
    without, lost = hu.astype(np.float32, copy=True), np.zeros(hu.shape, np.float32)
    without[core] += (target - level)[core]
    v, b, top, low = (image[wall] for image in (hu, background, level, target))
    contrast = np.maximum(top - b, LEAST_CONTRAST_HU)
    fraction = np.clip((v - b) / contrast, 0, 1)
    without[wall] = v - fraction * (top - low)
    inside = (fraction > 0) & (fraction < 1)
    scale = np.clip(1 - (top - low) / contrast, -1, 1)
    lost[wall] = np.where(inside, np.sqrt(1 - scale**2), 0)
    return Removal(without, lost)


def _level(
    hu: np.ndarray, enhanced: np.ndarray, core: np.ndarray, spacing: Sequence[float], level_hu: float
) -> np.ndarray:
    """The enhanced tissue's level around each voxel: of its core, where it has one within reach.

    Small vessels have none. Theirs is their own peak, but not less than the dimmest large vessels': a vessel thinner
    than a voxel never shows its level.
    """
    level = local_mean(hu, core, spacing, LEVEL_MM, np.nan)
    large = level[core & ~np.isnan(level)]
    dimmest = float(np.percentile(large, DIMMEST)) if large.size else level_hu
    peak = np.where(enhanced, ndimage.gaussian_filter(hu, np.divide(PEAK_MM, spacing)), np.float32(dimmest))
    reach = [2 * max(1, round(PEAK_REACH_MM / edge)) + 1 for edge in spacing]
    peak = np.maximum(ndimage.maximum_filter(peak, reach), dimmest)
    small = np.isnan(level)
    level[small] = peak[small]
    return level


def _background(hu: np.ndarray, known: np.ndarray, lung: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The level of what lies around: of lung in the lungs, of tissue elsewhere.

    Beside a hilar vessel the mean of both would take the tissue between vessel and lung for half blood, half air.
    """
    tissue = known & ~lung & (hu > LUNG_UPPER_HU)
    around = local_mean(hu, tissue, spacing, BACKGROUND_MM, WATER_HU)
    in_lung = local_mean(hu, known & lung, spacing, BACKGROUND_MM, TYPICAL_LUNG_HU)
    around[lung] = in_lung[lung]
    return around
