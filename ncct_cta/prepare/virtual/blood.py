"""Enhanced blood in a contrast chest CT, found by level, place and texture: no learned weights.

Blood and bone are told apart on a grid of about ``GRID_MM`` (``bone.py``), the borders are then drawn on the CT's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...common.coarse import coarse_grid
from ...metrics import body_mask
from ...metrics.regions import without_specks
from ...transforms.contrast import between_lungs
from ...transforms.lung_mask import compute_lung_mask
from .bone import find_territories
from .level import BloodLevel, measure_level
from .local import dilated, eroded, smoothed
from .lung_vessels import find_lung_vessels

GRID_MM = 2.0
NEARBY_MM = 6.0  # the blood that a wall belongs to


@dataclass(frozen=True)
class FoundBlood:
    """What a contrast chest CT shows; masks are boolean, (X, Y, Z).

    Args:
        blood: chambers, great vessels and their branches in mediastinum and lungs, dense veins included.
        level_hu: the level of enhanced blood in the heart and the great vessels.
        lung: both lungs with the vessels in them.
        body: the patient.
        bone: bone with its marrow.
        calcium: what is too bright for blood and no bone: calcifications, oral contrast, metal.
        dense: veins with contrast far denser than the heart's blood: where streaks come from.
    """

    blood: np.ndarray
    level_hu: float
    lung: np.ndarray
    body: np.ndarray
    bone: np.ndarray
    calcium: np.ndarray
    dense: np.ndarray


def find_blood(
    cta_hu: np.ndarray, spacing: Sequence[float], lung: np.ndarray | None = None, given: np.ndarray | None = None
) -> FoundBlood:
    """Find the blood of a contrast chest CT, and what must not be taken for it.

    Args:
        cta_hu: (X, Y, Z) in HU, axes towards right, anterior and superior.
        spacing: voxel edges in mm.
        lung: the lung mask, if it is known.
        given: a blood mask of the user's own, taken instead of the found one; same shape.

    Raises:
        InputError: if there are no lungs, or no contrast between them.
    """
    lung = (compute_lung_mask(cta_hu, spacing) if lung is None else lung).astype(bool)
    body = body_mask(cta_hu, spacing) | lung
    steps, mm = coarse_grid(spacing, GRID_MM)
    every_nth = tuple(slice(step // 2, None, step) for step in steps)
    coarse = ndimage.uniform_filter(cta_hu, steps, output=np.float32)[every_nth].copy()
    level = measure_level(coarse, mm, lung[every_nth], between_lungs(lung[every_nth]))
    territories = find_territories(coarse, mm, lung[every_nth], body[every_nth], level)
    blood_place, bone_place = (_refine(place, steps, cta_hu.shape) for place in (territories.blood, territories.bone))
    bone = bone_place & body & ~lung
    local = np.where(territories.blood, coarse, level.weakest)
    local = ndimage.gaussian_filter(ndimage.maximum_filter(local, [2 * round(NEARBY_MM / edge) + 1 for edge in mm]), 1)
    # Not beyond the usual level: where dense contrast flows into the heart, blood beside it would count as its wall.
    threshold = level.threshold(local.clip(max=level.hu))
    smooth = smoothed(cta_hu, np.divide(level.smoothing_mm, spacing))
    blood = blood_place & ~bone & (smooth > _spread(threshold, steps, cta_hu.shape))
    if given is not None:
        blood = given.astype(bool)
    else:
        blood |= find_lung_vessels(cta_hu, spacing, lung, blood, level)
    bone &= ~blood
    calcium, dense = _too_bright(smooth, spacing, body & ~bone, blood, level)
    return FoundBlood(blood & ~calcium, level.hu, lung, body, bone, calcium, dense)


def _refine(place: np.ndarray, steps: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Bring a coarse mask to the fine grid, one coarse voxel wider: thresholds draw the border there."""
    return _spread(ndimage.binary_dilation(place), steps, shape)


def _spread(coarse: np.ndarray, steps: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Repeat each coarse voxel on the fine grid of this shape."""
    index = [np.minimum(np.arange(n) // k, size - 1) for n, k, size in zip(shape, steps, coarse.shape, strict=True)]
    return coarse[np.ix_(*index)]


DENSE_ML = 1.0  # smaller components are calcifications
MIXING_MM = 4.0


def _too_bright(
    hu: np.ndarray, spacing: Sequence[float], place: np.ndarray, blood: np.ndarray, level: BloodLevel
) -> tuple[np.ndarray, np.ndarray]:
    """Calcium and dense veins: both too bright for mixed blood, the veins in larger pieces and next to blood."""
    bright = place & (hu > level.densest)
    dense = without_specks(bright, spacing, 1000 * DENSE_ML, certain=blood & bright)
    # In the heart it breaks up before it has mixed: small pieces in the midst of blood are no calcium.
    unmixed = bright if dense.any() else bright & (hu < level.densest + level.contrast / 2)
    dense |= unmixed & eroded(dilated(blood & ~bright, spacing, MIXING_MM), spacing, MIXING_MM)
    return bright & ~dense, dense
