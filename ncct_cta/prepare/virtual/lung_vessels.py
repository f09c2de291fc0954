"""Vessels in the lungs: brighter than parenchyma with a share of blood, without the lungs' border and nodules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ...common.coarse import coarse_grid
from ...common.hu import LUNG_UPPER_HU
from ...metrics.regions import EVERY_NEIGHBOUR, without_specks
from .level import BloodLevel

MIN_VESSEL_MM3 = 15.0
SHARE_OF_BLOOD = 0.45  # in a voxel; less is noise, a bronchus or a fissure
NODULE_MM = 4.0  # depth below the surface from which a lesion's own level shows
NODULE_GRID_MM = 1.5


def find_lung_vessels(
    hu: np.ndarray, spacing: Sequence[float], lung: np.ndarray, blood: np.ndarray, level: BloodLevel
) -> np.ndarray:
    """Find the vessels inside the lung mask.

    Args:
        hu: (X, Y, Z) in HU.
        spacing: voxel edges in mm.
        lung: boolean, same shape.
        blood: what is found already outside the lungs, boolean, same shape.
        level: the blood's level.

    Returns:
        boolean, same shape.
    """
    parenchyma = float(np.median(hu[lung & (hu < LUNG_UPPER_HU)]))
    weak = lung & (hu > parenchyma + SHARE_OF_BLOOD * (level.hu - parenchyma))
    inner = ndimage.binary_erosion(lung)  # at the border half a voxel of chest wall looks like a vessel
    weak &= inner | blood
    vessels = without_specks(weak, spacing, MIN_VESSEL_MM3, EVERY_NEIGHBOUR)
    return vessels & ~_nodules(hu, spacing, weak, level)


def _nodules(hu: np.ndarray, spacing: Sequence[float], bright: np.ndarray, level: BloodLevel) -> np.ndarray:
    """What is thick enough to show a level of its own, and shows that of tissue instead of blood."""
    steps, mm = coarse_grid(spacing, NODULE_GRID_MM)
    every_nth = tuple(slice(None, None, step) for step in steps)
    depth = ndimage.distance_transform_edt(bright[every_nth], mm)
    labels, count = ndimage.label(depth > NODULE_MM)
    nodule = np.zeros(bright.shape, bool)
    if count == 0:
        return nodule
    levels = ndimage.median(hu[every_nth], labels, range(1, count + 1))
    dark = np.isin(labels, 1 + np.flatnonzero(np.asarray(levels) < level.weakest))
    around = ndimage.distance_transform_edt(~dark, mm) <= 2 * NODULE_MM if dark.any() else dark
    index = [np.arange(n) // step for n, step in zip(hu.shape, steps, strict=True)]
    return around[np.ix_(*index)]
