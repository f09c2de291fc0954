"""Whether a chest CT shows contrast, measured in the blood of the heart and the great vessels: headers lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..common.coarse import coarse_grid
from ..common.errors import InputError
from ..common.hu import CONTRAST_BLOOD_HU, WATER_HU
from ..volumes.nifti import Volume
from ..volumes.orientation import spacing_to_ras, to_ras
from .lung_mask import compute_lung_mask

GRID_MM = 3.0
FRONT_OF_LUNGS = 0.6  # fraction of the lungs' depth: heart and ascending aorta lie in front of it, the spine behind it
CENTRE_OF_LUNGS = 0.25  # fraction of the lungs' width, to either side of their middle
SURFACE_MM = 9.0  # distance from lung and chest wall
SMOOTHING_MM = 3.0
BRIGHT = 90  # percentile: a phase that fills only one half of the heart must still show
MIN_BLOOD_ML = 20.0


def blood_hu(hu: np.ndarray, spacing: Sequence[float], lung: np.ndarray | None = None) -> float | None:
    """HU of the brightest tenth of heart and great vessels: near 50 without contrast, from about 150 to 500 with.

    The place is found from the lungs: between them, in the front of the chest, away from their surface. Smoothing
    and the percentile suppress noise, calcifications and pacemaker leads.

    Args:
        hu: (X, Y, Z) HU, axes towards right, anterior and superior.
        spacing: voxel edges in mm.
        lung: the lung mask, if it is known; otherwise it is computed on the coarse grid.

    Returns:
        The HU; None if no lungs or no blood between them are found, as in an abdominal CT.
    """
    steps, mm = coarse_grid(spacing, GRID_MM)
    every_nth = tuple(slice(None, None, step) for step in steps)
    coarse = hu[every_nth]
    try:
        lungs = (compute_lung_mask(coarse, mm) if lung is None else lung[every_nth]).astype(bool)
    except InputError:
        return None
    place = between_lungs(lungs) & (ndimage.distance_transform_edt(~lungs, mm) > SURFACE_MM)
    smooth = ndimage.gaussian_filter(coarse.astype(np.float32), np.divide(SMOOTHING_MM, mm))
    blood = smooth[place & (smooth > WATER_HU)]  # fat is below water
    if blood.size * np.prod(mm) / 1000 < MIN_BLOOD_ML:
        return None
    return float(np.percentile(blood, BRIGHT))


def blood_of(volume: Volume, lung: np.ndarray | None = None) -> float | None:
    """``blood_hu`` of a CT in any orientation; its lung mask, if it is known, lies on the same grid."""
    ras, orientation = to_ras(volume.array, volume.affine)
    ras_lung = None if lung is None else to_ras(lung, volume.affine)[0]
    return blood_hu(ras, spacing_to_ras(volume.spacing, orientation), ras_lung)


def is_enhanced(blood: float | None) -> bool | None:
    """Whether blood of this HU carries contrast; None if it couldn't be measured."""
    return None if blood is None else blood >= CONTRAST_BLOOD_HU


def between_lungs(lungs: np.ndarray) -> np.ndarray:
    """Return the voxels between the left and the right lung, in the front and centre of the chest, slice by slice."""
    left_of = np.logical_or.accumulate(lungs, axis=0)
    right_of = np.logical_or.accumulate(lungs[::-1], axis=0)[::-1]
    x, y = (np.flatnonzero(lungs.any(axis=axes)) for axes in ((1, 2), (0, 2)))
    window = np.zeros_like(lungs)
    centre, reach = (x[0] + x[-1]) / 2, CENTRE_OF_LUNGS * len(x)
    front = round(y[-1] - FRONT_OF_LUNGS * len(y))
    window[max(0, round(centre - reach)) : round(centre + reach) + 1, front:] = True
    return left_of & right_of & window & ~lungs
