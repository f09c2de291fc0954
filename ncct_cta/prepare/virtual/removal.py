"""Take the iodine out of a contrast CT, so that neither edges nor noise mark where it was.

A voxel of which blood fills the fraction ``f`` has ``v = f B + (1 - f) b + n``: the enhanced blood's level ``B``, the
background's ``b`` and the scan's noise ``n``. Without iodine it has ``v' = v - f (B - U)``, with the blood's own level
``U``. Inside a vessel ``f`` is 1 and the noise stays as it is. At its wall one voxel doesn't tell ``f``, ``B`` and
``b``. The mask and the surroundings say roughly what each is and how far that can be off, and the voxel's deviation is
shared out among them accordingly (an extended Kalman update; Anderson and Moore, "Optimal Filtering", 1979). Where the
background is even, ``f`` is read from the voxel; where it is mixed, from the mask's shape. A wall's noise is thereby
scaled by ``g = dv'/dv``, and noise of the scan's spectrum and of the strength ``sqrt(1 - g^2)`` takes the place of what
was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...common.hu import LUNG_UPPER_HU, WATER_HU
from .local import dilated, eroded, local_means, smoothed
from .mixing import blood_level

CORE_MM = 0.75  # partial volume reaches this far into a vessel
CLEAR_MM, REACH_MM = 1.5, 3.0  # and this far out of it: what is certainly background, and what is changed at all
BLUR, WIDER_BLUR = 0.5, 1.0  # voxels: from a mask to fractions, and to how uncertain these are
PEAK_MM, PEAK_REACH_MM = 0.4, 2.5  # a small vessel's level is its brightest voxel's, less noise
BACKGROUND_MM = (0.8, 1.6, 4.0, 12.0)
DIMMEST = 10  # percentile of the large vessels' level
TYPICAL_LUNG_HU = -850.0
ABOVE_PARENCHYMA_HU = 150.0  # brighter lung holds vessels
LEAST_TISSUE_HU = LUNG_UPPER_HU + 200
LEAST_CONTRAST_HU = 40.0  # blood no brighter than this above its background is read as blood alone
GREAT_MM, VESSEL_WALL_MM = 3.5, 1.0  # a vessel of more than twice this radius has a wall of at least so much
VESSEL_WALL_HU = 20.0  # how far it can differ from the blood in it, standard deviation
BOX_MM = 12.0  # around the enhanced tissue; the rest of the scan would only cost time
UPDATES = 2
# Standard deviations of what is known before the voxel is looked at, outside the lungs and in them.
FRACTION = (0.3, 0.4)  # at the mask's border; in the lungs vessels thinner than a voxel are missing from the mask
THIN_VESSELS = 0.08
LEVEL_HU = (20.0, 50.0)  # arteries and veins lie side by side in the lungs
TISSUE_HU, NOISE_HU = 40.0, 12.0


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
    changed: np.ndarray | None = None,
    overwrite: bool = False,
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
        changed: the only voxels of walls that are changed, bool; None: all, of vessels, which have a wall of their own.
        overwrite: work in ``hu`` itself, which saves a copy.
    """
    without, lost = hu.astype(np.float32, copy=not overwrite), np.zeros(hu.shape, np.float32)
    target = np.broadcast_to(np.asarray(target_hu, np.float32), hu.shape)
    if enhanced.any():
        box = _box_around(enhanced, spacing)
        given = (array[box] for array in (without, lost, enhanced, kept, lung, target))
        _remove(*given, changed=changed if changed is None else changed[box], spacing=spacing, level_hu=level_hu)
    return Removal(without, lost)


def _remove(
    hu: np.ndarray,
    lost: np.ndarray,
    enhanced: np.ndarray,
    kept: np.ndarray,
    lung: np.ndarray,
    target: np.ndarray,
    *,
    changed: np.ndarray | None,
    spacing: Sequence[float],
    level_hu: float,
) -> None:
    """The same in place."""
    core = eroded(enhanced, spacing, CORE_MM) & ~kept
    wall = dilated(enhanced, spacing, REACH_MM) & ~core & ~kept
    if changed is not None:
        wall &= changed
    level = np.empty(hu.shape, np.float32)
    level[core | wall] = _level(hu, enhanced & ~kept, core, core | wall, lung, spacing, level_hu)
    fraction, in_lung = _fraction(enhanced, lung, wall, spacing)
    tissue = _background(hu, ~dilated(enhanced, spacing, CLEAR_MM) & ~kept, lung, spacing, wall)
    if changed is None:
        tissue = _lined(tissue, enhanced, target[wall], spacing, wall)
    blood = np.maximum(level[wall], tissue[0] + LEAST_CONTRAST_HU), np.take(LEVEL_HU, in_lung) ** 2
    without, lost[wall] = _walls(hu[wall], fraction, tissue, blood, target[wall])
    hu[core] += target[core] - level[core]
    hu[wall] = without


def _box_around(enhanced: np.ndarray, spacing: Sequence[float]) -> tuple[slice, ...]:
    """The box that holds the enhanced tissue and what its background is measured in."""
    sides = ndimage.find_objects(enhanced.view(np.uint8))[0]
    margins = [int(BOX_MM / edge) + 1 for edge in spacing]
    return tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(sides, margins, strict=True))


Prior = tuple[np.ndarray, np.ndarray]


def _walls(v: np.ndarray, fraction: Prior, tissue: Prior, blood: Prior, target: np.ndarray) -> Prior:
    """The walls' voxels without iodine, and the share of their noise that is lost: (N,) each.

    Args:
        v: HU of the voxels.
        fraction: of blood in them before they are looked at, and its variance.
        tissue: the background's level in HU, and its variance.
        blood: the enhanced blood's, and its variance.
        target: the unenhanced blood's level.
    """
    (f0, f_var), (b0, b_var), (top0, top_var) = fraction, tissue, blood
    f, b, top = f0, b0, top0
    for _ in range(UPDATES):
        slope = top - b
        gain = 1 / (f_var * slope**2 + b_var * (1 - f) ** 2 + top_var * f**2 + NOISE_HU**2)
        surprise = v - f * top - (1 - f) * b - ((f0 - f) * slope + (1 - f) * (b0 - b) + f * (top0 - top))
        to_fraction, to_blood = f_var * slope * gain, top_var * f * gain
        b = b0 + b_var * (1 - f) * gain * surprise
        f, top = np.clip(f0 + to_fraction * surprise, 0, 1), np.maximum(top0 + to_blood * surprise, b)
    scale = np.clip(1 - to_fraction * (top - target) - f * to_blood, -1, 1)
    return v - f * (top - target), np.where((f > 0) & (f < 1), np.sqrt(1 - scale**2), 0)


def _fraction(
    enhanced: np.ndarray, lung: np.ndarray, wall: np.ndarray, spacing: Sequence[float]
) -> tuple[Prior, np.ndarray]:
    """How much of each wall's voxel is blood by the mask's shape, and its variance; and 1 in the lungs, else 0."""
    in_lung = lung[wall].astype(np.intp)
    border = _blurred(enhanced, spacing, WIDER_BLUR)[wall]
    variance = np.take(FRACTION, in_lung) ** 2 * border * (1 - border) + THIN_VESSELS**2 * in_lung
    return (_blurred(enhanced, spacing, BLUR)[wall], variance), in_lung


def _blurred(mask: np.ndarray, spacing: Sequence[float], voxels: float) -> np.ndarray:
    edge = float(np.prod(spacing)) ** (1 / 3)
    return smoothed(mask, np.divide(voxels * edge, spacing))


def _level(
    hu: np.ndarray,
    enhanced: np.ndarray,
    core: np.ndarray,
    where: np.ndarray,
    lung: np.ndarray,
    spacing: Sequence[float],
    level_hu: float,
) -> np.ndarray:
    """The enhanced tissue's level around each voxel of ``where``: of its core, where it has one within reach.

    Small vessels have none, and in the lungs the nearest core may be an artery's beside a vein. Their level is their
    own peak, but not less than the dimmest large vessels': a vessel thinner than a voxel never shows its level.
    """
    level = blood_level(hu, core, where, spacing)
    large = level[core[where] & ~np.isnan(level)]
    dimmest = float(np.percentile(large, DIMMEST)) if large.size else level_hu
    peak = np.where(enhanced, smoothed(hu, np.divide(PEAK_MM, spacing)), np.float32(dimmest))
    reach = [2 * max(1, round(PEAK_REACH_MM / edge)) + 1 for edge in spacing]
    peak = ndimage.maximum_filter(peak, reach)[where]
    small = np.isnan(level) | (lung & ~dilated(core, spacing, CORE_MM))[where]
    return np.where(small, np.maximum(peak, dimmest), level)


def _background(
    hu: np.ndarray, known: np.ndarray, lung: np.ndarray, spacing: Sequence[float], where: np.ndarray
) -> Prior:
    """Mean and variance of what lies around each voxel of ``where``: of lung in the lungs, of tissue elsewhere.

    At the lungs' border it is a mixture of both, and the less certain.
    """
    air = hu[lung & (hu < LUNG_UPPER_HU)]
    parenchyma = float(np.median(air)) if air.size else TYPICAL_LUNG_HU
    levels = []
    for mask, typical, least in (
        (known & ~lung & (hu > LEAST_TISSUE_HU), float(WATER_HU), TISSUE_HU),
        (known & lung & (hu < parenchyma + ABOVE_PARENCHYMA_HU), parenchyma, 0.0),
    ):
        above = hu - np.float32(typical)
        defaults = 0.0, TISSUE_HU**2
        mean, squares = local_means((above, above**2), mask, spacing, BACKGROUND_MM, defaults, where)
        levels.append((mean + typical, np.maximum(squares - mean**2, 0) + least**2))
    (tissue, tissue_variance), (inner, inner_variance) = levels
    share, wider = (_blurred(lung, spacing, voxels)[where] for voxels in (BLUR, WIDER_BLUR))
    variance = wider * inner_variance + (1 - wider) * tissue_variance + wider * (1 - wider) * (tissue - inner) ** 2
    return share * inner + (1 - share) * tissue, variance


def _lined(
    tissue: Prior, enhanced: np.ndarray, target: np.ndarray, spacing: Sequence[float], where: np.ndarray
) -> Prior:
    """The background with the great vessels' own walls: soft tissue, about as bright as blood without iodine.

    What surrounds a great vessel is measured beyond its wall. Where that is fat, blood would seem to fill more of the
    wall's voxels than it does, and a dark rim would be left.
    """
    mean, variance = tissue
    great = dilated(eroded(enhanced, spacing, GREAT_MM), spacing, GREAT_MM)
    share = _blurred(dilated(great, spacing, VESSEL_WALL_MM), spacing, BLUR)[where]
    between = share * (1 - share) * (mean - target) ** 2
    return share * target + (1 - share) * mean, share * VESSEL_WALL_HU**2 + (1 - share) * variance + between
