"""Vessels in the lungs: brighter than halfway from parenchyma to blood, without the lungs' border and nodules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ...common.hu import LUNG_UPPER_HU
from .level import BloodLevel

MIN_VESSEL_MM3 = 30.0


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
    weak = lung & (hu > (parenchyma + level.hu) / 2)
    inner = ndimage.binary_erosion(lung)  # at the border half a voxel of chest wall looks like a vessel
    weak &= inner | blood
    labels, _ = ndimage.label(weak, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel()) * float(np.prod(spacing))
    kept = sizes >= MIN_VESSEL_MM3
    kept[0] = False
    return kept[labels]
