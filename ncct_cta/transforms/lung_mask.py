"""A lung mask from a chest CT: threshold, components, airways out, vessels and juxtapleural nodules in.

The steps are those of Hu, Hoffman and Reinhardt (IEEE TMI 2001): threshold, remove the air around the body, cut off
the trachea and the main bronchi, keep the lungs, close each. The shapes are found on a grid of about
``WORKING_SPACING_MM``; the border is then drawn on the CT's own grid.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..common.errors import InputError
from ..common.hu import AIRWAY_THRESHOLDS_HU, GAS_UPPER_HU, LUNG_UPPER_HU, TRACHEA_UPPER_HU

WORKING_SPACING_MM = 1.7
TABLE_MM = 4.0  # the shell of a table and a blanket are thinner than this
THIN_WALL_MM = 15.0  # distance from thicker tissue within which such a thin chest wall still counts as body
CLOSING_MM = 8.0  # radius; fills vessels and nodules at the pleura, but not the aorta's or the heart's impression
MIN_LUNG_OF_BODY = 0.01  # air-filled bowel stays below it; the lung bases in an abdominal CT reach it
MIN_OF_LARGEST_LUNG = 0.1
# The trachea on an axial slice: a wider range than the adult's 100..400 mm2, for children and thick slices.
TRACHEA_AREA_MM2 = (25.0, 900.0)
TRACHEA_LENGTH_MM = 15.0
MAX_AIRWAY_OF_AIR = 0.04  # a region larger than this has leaked into the lung
MAIN_BRONCHUS_MM = 6.0  # thinner branches belong to the lung
BRONCHI_FROM_TRACHEA_MM = (60.0, 60.0, 80.0)  # how far the main bronchi reach sideways, to front and back, and down
SEPARATION_MM = (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)  # largest erosion tried to separate touching lungs
# Connectivity within the axial slice only.
AXIAL = np.pad(ndimage.generate_binary_structure(2, 1)[:, :, None], ((0, 0), (0, 0), (1, 1)))


def compute_lung_mask(hu: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Segment both lungs: with the vessels inside them, without trachea, main bronchi and mediastinum.

    Args:
        hu: (X, Y, Z) HU, axes towards right, anterior and superior (``to_ras`` turns them); a flip of X or Y,
            and the exchange of the two, don't matter, but Z must run from the feet to the head.
        spacing: voxel edges along X, Y and Z in mm.

    Returns:
        (X, Y, Z) uint8, 1 in the lungs.

    Raises:
        InputError: if there are no lungs to be found.
    """
    if hu.ndim != 3 or len(spacing) != 3 or not min(spacing) > 0:
        raise ValueError(f"hu is {hu.shape} with spacing {tuple(spacing)}; expected (X, Y, Z) and three values above 0")
    factors = [min(n, max(1, round(WORKING_SPACING_MM / s))) for n, s in zip(hu.shape, spacing, strict=True)]
    mm = np.multiply(factors, spacing)
    coarse = _block_mean(hu, factors)
    body = _body(coarse, mm)
    air = body & (coarse < LUNG_UPPER_HU)
    airway = _airway(coarse, air, mm)
    lungs = _select_lungs(coarse, air & ~airway, int(np.count_nonzero(body)), mm)
    closed = np.zeros_like(air)
    box = _box(lungs, CLOSING_MM / mm)
    for lung in _separate(lungs[box], mm):
        box_of_lung = _box(lung, CLOSING_MM / mm)
        closed[box][box_of_lung] |= _close(lung[box_of_lung], mm)
    return _refine(hu, closed & body & ~airway, factors)


def _block_mean(hu: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Mean over blocks of voxels, float32; the last block of an axis repeats the last voxel where it is short."""
    shape = [-(-n // f) for n, f in zip(hu.shape, factors, strict=True)]
    total = np.zeros(shape, np.float32)
    for offset in itertools.product(*map(range, factors)):
        index = [
            np.minimum(np.arange(n) * f + o, size - 1)
            for n, f, o, size in zip(shape, factors, offset, hu.shape, strict=True)
        ]
        total += hu[np.ix_(*index)]
    return total / np.prod(factors)


def _body(hu: np.ndarray, mm: np.ndarray) -> np.ndarray:
    """The filled patient, without table, clothes and surrounding air."""
    tissue = hu >= LUNG_UPPER_HU
    # Opening with a box is separable and therefore fast.
    size = _filter_size(TABLE_MM, mm)
    opened = ndimage.maximum_filter(ndimage.minimum_filter(tissue, size), size)
    labels, n = ndimage.label(opened)
    if n == 0:
        raise InputError(f"no lungs found: nothing above {LUNG_UPPER_HU} HU, expected a body; give a chest CT in HU")
    trunk = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    # Opening may break a child's chest wall, and the lung behind it would count as outside.
    trunk |= tissue & ndimage.maximum_filter(trunk, _filter_size(2 * THIN_WALL_MM, mm))
    # Where the edge of the image cuts through the lung, the body is closed between the two ends of the chest wall.
    for border in (trunk[0], trunk[-1], trunk[:, 0], trunk[:, -1]):
        border |= np.logical_or.accumulate(border) & np.logical_or.accumulate(border[::-1])[::-1]
    return trunk | _holes(trunk, axes=(0, 1))


def _filter_size(width: float, mm: np.ndarray) -> tuple[int, int, int]:
    """A width in mm, within the axial slice, as the largest odd number of voxels in it: a filter's size."""
    x, y = (2 * int(width / mm[axis] / 2) + 1 for axis in (0, 1))
    return x, y, 1


def _airway(hu: np.ndarray, air: np.ndarray, mm: np.ndarray) -> np.ndarray:
    """Trachea and main bronchi with their walls; empty if no trachea is found.

    The region grows from the trachea with increasing thresholds until it leaks into the lung (Hu et al. 2001).
    """
    seed = _trachea(hu, air, mm)
    if not seed.any():
        return seed
    airway, near = seed, np.zeros_like(air)
    near[_box(seed, np.divide(BRONCHI_FROM_TRACHEA_MM, mm))] = True
    smooth = ndimage.gaussian_filter(hu, 1.0 / mm)
    limit = MAX_AIRWAY_OF_AIR * np.count_nonzero(air)
    for threshold in sorted(AIRWAY_THRESHOLDS_HU):
        labels, _ = ndimage.label(air & (smooth < threshold))
        names = np.unique(labels[seed])
        grown = np.isin(labels, names[names > 0])
        if np.count_nonzero(grown) > limit:
            break
        airway = grown | seed
    size = _filter_size(MAIN_BRONCHUS_MM, mm)
    wide = ndimage.maximum_filter(ndimage.minimum_filter(airway, size), size)
    wide &= airway & near
    return ndimage.binary_dilation(wide | seed, iterations=1)


def _trachea(hu: np.ndarray, air: np.ndarray, mm: np.ndarray) -> np.ndarray:
    """The longest stack of round, central, air-filled spots above the lungs' middle."""
    heights = air.sum(axis=(0, 1)).cumsum()
    middle = int(np.searchsorted(heights, heights[-1] / 2))
    occupied = [np.flatnonzero(air.any(axis=axes)) for axes in ((1, 2), (0, 2))]
    labels, n = ndimage.label(air & (hu < AIRWAY_THRESHOLDS_HU[0]), AXIAL)
    counts = np.bincount(labels.ravel(), minlength=n + 1)
    means = np.bincount(labels.ravel(), weights=hu.ravel(), minlength=n + 1) / np.maximum(counts, 1)
    keep = np.zeros(n + 1, bool)
    for name, box in enumerate(ndimage.find_objects(labels), start=1):
        keep[name] = (
            box[2].start >= middle
            and means[name] < TRACHEA_UPPER_HU
            and _is_round(box, counts[name], mm)
            and all(_is_central(box[axis], occupied[axis]) for axis in (0, 1))
        )
    stacks, n = ndimage.label(keep[labels])
    lengths = [(box[2].stop - box[2].start) * mm[2] for box in ndimage.find_objects(stacks)]
    if max(lengths, default=0) < TRACHEA_LENGTH_MM:
        return np.zeros_like(air)
    return stacks == 1 + int(np.argmax(lengths))


def _is_round(box: tuple[slice, ...], voxels: int, mm: np.ndarray) -> bool:
    sides = [(box[axis].stop - box[axis].start) * mm[axis] for axis in (0, 1)]
    area = voxels * mm[0] * mm[1]
    # A disc fills 0.79 of its box; a sabre-sheath trachea is up to twice as deep as it is wide.
    return bool(
        TRACHEA_AREA_MM2[0] <= area <= TRACHEA_AREA_MM2[1]
        and max(sides) <= 2.5 * min(sides)
        and area > 0.5 * sides[0] * sides[1]
    )


def _is_central(side: slice, occupied: np.ndarray) -> bool:
    """Whether a box's side lies in the middle half of the range that air occupies along this axis."""
    offset = (side.start + side.stop - 1) / 2 - (occupied[0] + occupied[-1]) / 2
    return bool(abs(offset) < 0.25 * len(occupied))


def _select_lungs(hu: np.ndarray, air: np.ndarray, body_voxels: int, mm: np.ndarray) -> np.ndarray:
    labels, n = ndimage.label(air)
    counts = np.bincount(labels.ravel(), minlength=n + 1)
    counts[0] = 0
    lungs = np.zeros_like(air)
    largest = 0
    for name in np.argsort(counts)[::-1]:
        if counts[name] < max(MIN_LUNG_OF_BODY * body_voxels, MIN_OF_LARGEST_LUNG * largest):
            break
        part = labels == name
        # Gas in the stomach, the bowel or between arm and chest has no parenchyma in it.
        if np.median(hu[part]) > GAS_UPPER_HU:
            largest = largest or counts[name]
            lungs |= part
    if not largest:
        found, body = (voxels * np.prod(mm) / 1000 for voxels in (counts.max(), body_voxels))
        raise InputError(
            f"no lungs found: the largest air-filled part of the body holds {found:.0f} ml, expected lung tissue of "
            f"{MIN_LUNG_OF_BODY:.0%} of the body's {body:.0f} ml or more; give a chest CT in HU"
        )
    return lungs


def _separate(lungs: np.ndarray, mm: np.ndarray) -> list[np.ndarray]:
    """The lungs one by one, so that closing can't bridge the mediastinum; one mask where they can't be told apart."""
    depth = lungs.astype(np.float32)
    for erosion in SEPARATION_MM:
        if erosion == SEPARATION_MM[1]:  # distance transforms are slow, and most lungs are already separate
            depth = ndimage.distance_transform_edt(lungs, mm)
        labels, n = ndimage.label(depth > erosion)
        counts = np.bincount(labels.ravel(), minlength=n + 1)[1:]
        cores = 1 + np.flatnonzero(counts >= MIN_OF_LARGEST_LUNG * counts.max(initial=1))
        if len(cores) >= 2:
            break
    else:
        return [lungs]
    markers = np.where(np.isin(labels, cores), labels, 0)
    if erosion > 0:
        nearest = ndimage.distance_transform_edt(markers == 0, mm, return_distances=False, return_indices=True)
        markers = np.where(lungs, markers[tuple(nearest)], 0)
    return [markers == core for core in cores]


def _box(mask: np.ndarray, margin: np.ndarray) -> tuple[slice, ...]:
    """The mask's bounding box with a margin in voxels, for slicing; everything outside it would only cost time."""
    sides = ndimage.find_objects(mask.view(np.uint8))[0]
    margin = margin.astype(int) + 2
    return tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(sides, margin, strict=True))


def _close(lung: np.ndarray, mm: np.ndarray) -> np.ndarray:
    """Close with a ball of ``CLOSING_MM`` and fill enclosed holes."""
    dilated = ndimage.distance_transform_edt(~lung, mm) <= CLOSING_MM
    closed = lung | (ndimage.distance_transform_edt(dilated, mm) > CLOSING_MM)
    # Enclosed in 3-D only: on axial slices the liver's dome is a hole in the lung too.
    return closed | _holes(closed, axes=(0, 1, 2))


def _holes(mask: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """What the mask encloses on the axial slices (``axes`` 0 and 1) or in the volume (all three)."""
    labels, n = ndimage.label(~mask, AXIAL if len(axes) == 2 else None)
    is_hole = np.ones(n + 1, bool)
    is_hole[0] = False
    for axis in axes:
        is_hole[np.unique(np.take(labels, [0, -1], axis))] = False
    return is_hole[labels]


def _refine(hu: np.ndarray, coarse: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Refine the coarse mask on the CT's own grid: its interior is kept, its border follows the CT's lung voxels."""
    inside = ndimage.binary_erosion(coarse, border_value=1)
    reach = ndimage.binary_dilation(coarse)
    x, y, z = (np.arange(n) // f for n, f in zip(hu.shape, factors, strict=True))
    mask = np.empty(hu.shape, np.uint8)
    for k in range(hu.shape[2]):  # slice by slice: full-size temporaries would double the memory
        plane = np.ix_(x, y)
        mask[..., k] = inside[..., z[k]][plane] | (reach[..., z[k]][plane] & (hu[..., k] < LUNG_UPPER_HU))
    return mask
