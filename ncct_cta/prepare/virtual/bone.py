"""Bone and blood told apart on a coarse grid: by where they lie, by their texture, and by the dark seam between them.

In a venous phase marrow and cortex are as bright as blood, and the aorta touches the spine. But bone is uneven where
blood is even, or its even marrow lies in a brighter shell; and ribs, sternum and the vertebral arches lie outside the
lungs' hull, where no great vessel runs. From such certain places both grow, and meet where the gradient is steepest
(watershed; Beucher and Meyer, 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image
from skimage.segmentation import watershed

from ...common.hu import BONE_LOWER_HU
from .level import BloodLevel

EVEN_MM = 5.0  # edge of the box in which evenness is measured; three voxels at least
MIN_CORE_ML = 0.5
CHEST = 0.3  # slices with a smaller share of the largest lung area lie in the neck or the abdomen
MIDDLE = 0.35  # fraction of the lungs' width, to either side of their middle
BELOW_MM = 40.0  # in the abdomen: aorta and vena cava
WALL_MM = 4.0  # bone further than this outside the lungs' hull belongs to the chest wall
BACK_OF_LUNGS = 0.35  # fraction of the lungs' depth that the spine reaches into
MARROW_MM = 4.0  # gaps in the cortex up to twice this are closed
MARROW_MM2 = 1500.0  # a larger hole in an axial slice is no marrow: the thorax itself is one
SHELL_HU, SHELL_SHARE = 40.0, 0.8  # how much brighter than its marrow a cortex is, on what share of the outline
FRONT_OF_SPINE = 0.5  # fraction of the lungs' depth: what is enclosed further in front is blood amid denser blood
RIM_MM = 3.0  # from where whole boxes are even to where a vessel ends


@dataclass(frozen=True)
class Territories:
    """Where on the coarse grid bright voxels are blood, and where bone; boolean, same shape."""

    blood: np.ndarray
    bone: np.ndarray


def find_territories(
    hu: np.ndarray, mm: Sequence[float], lung: np.ndarray, body: np.ndarray, level: BloodLevel
) -> Territories:
    """Split the bright voxels into blood and bone.

    Args:
        hu: (X, Y, Z) HU on the coarse grid, axes towards right, anterior and superior.
        mm: voxel edges in mm.
        lung: boolean, same shape.
        body: boolean, same shape.
        level: the blood's level and the threshold to its surroundings.
    """
    hull = lung_hull(lung)
    middle = great_vessels_place(lung, mm)
    even, mean = _even(hu, mm, body & middle, level)
    marrow = _in_shells(hu, even & ~_in_front(hull, lung), mm)
    core = _at_least(even & (mean > level.even_range[0]) & ~marrow, MIN_CORE_ML, mm)
    bright = body & (hu > level.weakest)
    # Nor is the rim of a vein that leaves the hull at the top of the chest: it would close round the vein as a cortex.
    wall = bright & (hu > BONE_LOWER_HU) & ~_grow(hull, WALL_MM, mm) & ~_grow(core, RIM_MM, mm)
    certain = wall | marrow | _cortex(hu, bright, lung, level)
    markers = np.zeros(hu.shape, np.int8)
    markers[core & ~with_marrow(certain, mm)] = 1
    markers[certain] = 2
    steepness = ndimage.gaussian_gradient_magnitude(hu, 0.7)
    labels = watershed(steepness, markers, mask=bright)
    bone = with_marrow(labels == 2, mm) & body
    return Territories((labels == 1) & ~bone & middle, bone)


def lung_hull(lung: np.ndarray) -> np.ndarray:
    """The lungs' convex hull in each axial slice, together with those of the slices above it."""
    hull = np.zeros_like(lung)
    above = np.zeros(lung.shape[:2], bool)
    filled = np.flatnonzero(lung.any((0, 1)))
    for z in range(lung.shape[2] - 1, -1, -1):
        if lung[..., z].any():
            above = above | convex_hull_image(lung[..., z])
        hull[..., z] = above
    hull[..., filled[-1] + 1 :] = hull[..., filled[-1], None]
    return hull


def great_vessels_place(lung: np.ndarray, mm: Sequence[float]) -> np.ndarray:
    """Where heart and great vessels can lie: the middle of the chest, and along the spine below it.

    Spleen and kidneys, in a venous phase as bright as blood, lie beside it.
    """
    x = np.flatnonzero(lung.any((1, 2)))
    area = np.count_nonzero(lung, (0, 1))
    chest = np.flatnonzero(area > CHEST * area.max())
    centre = (x[0] + x[-1]) / 2
    from_centre = np.abs(np.arange(lung.shape[0]) - centre)
    place = np.zeros_like(lung)
    place[from_centre < MIDDLE * len(x)] = True
    place[from_centre * mm[0] > BELOW_MM, :, : chest[0]] = False
    return place


def _even(hu: np.ndarray, mm: Sequence[float], body: np.ndarray, level: BloodLevel) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of whole boxes that are about as bright as blood and as even, and the boxes' means in HU."""
    size = _box(mm)
    mean = ndimage.uniform_filter(hu, size)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(hu * hu, size) - mean * mean, 0))
    low, high = level.even_range
    return body & (mean > min(low, level.weakest)) & (mean < high) & (spread < level.even_spread), mean


def _box(mm: Sequence[float]) -> list[int]:
    return [max(3, 2 * int(EVEN_MM / edge / 2) + 1) for edge in mm]


def _in_front(hull: np.ndarray, lung: np.ndarray) -> np.ndarray:
    """Within the lungs' hull, what lies in front of the spine."""
    y = np.flatnonzero(lung.any((0, 2)))
    front = hull.copy()
    front[:, : y[0] + int(FRONT_OF_SPINE * len(y))] = False
    return front


def _in_shells(hu: np.ndarray, even: np.ndarray, mm: Sequence[float]) -> np.ndarray:
    """The even pieces that a brighter shell surrounds in their axial slices: marrow.

    An aorta has the spine on one side alone, and plaques cover less of its outline.
    """
    pieces, count = ndimage.label(_at_least(even, MIN_CORE_ML, mm))
    index, width = np.arange(count + 1), _box(mm)[0]
    boxes, beyond = (ndimage.maximum_filter(pieces, (size, size, 1)) for size in (width, width + 2))
    outline = np.where(boxes == 0, beyond, 0)
    least = np.maximum(BONE_LOWER_HU, ndimage.mean(hu, pieces, index) + SHELL_HU)
    brighter = ndimage.maximum_filter(hu, (3, 3, 1)) > least[outline]
    length, enclosed = (np.bincount(ring.ravel(), minlength=count + 1) for ring in (outline, outline * brighter))
    return (enclosed > SHELL_SHARE * length)[pieces] & (pieces > 0)


def _cortex(hu: np.ndarray, bright: np.ndarray, lung: np.ndarray, level: BloodLevel) -> np.ndarray:
    """Voxels that are too bright for blood, in the spine's part of the thorax, behind the hila."""
    dense = bright & (hu > max(BONE_LOWER_HU, level.densest))
    y = np.flatnonzero(lung.any((0, 2)))
    dense[:, y[0] + int(BACK_OF_LUNGS * len(y)) :] = False
    return dense


def with_marrow(bone: np.ndarray, mm: Sequence[float]) -> np.ndarray:
    """Close the cortex in each axial slice and fill what it encloses."""
    steps = max(1, round(MARROW_MM / mm[0]))
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), steps)[..., None]
    closed = np.pad(bone, ((steps, steps), (steps, steps), (0, 0)))
    closed = ndimage.binary_closing(closed, disc)[steps:-steps, steps:-steps]
    for z in range(bone.shape[2]):
        holes, _ = ndimage.label(ndimage.binary_fill_holes(closed[..., z]) & ~closed[..., z])
        small = np.bincount(holes.ravel()) * mm[0] * mm[1] < MARROW_MM2
        small[0] = False
        closed[..., z] |= small[holes]
    return closed


def _at_least(mask: np.ndarray, ml: float, mm: Sequence[float]) -> np.ndarray:
    """Keep the components of at least so many ml."""
    labels, _ = ndimage.label(mask)
    large = np.bincount(labels.ravel()) * float(np.prod(mm)) >= 1000 * ml
    large[0] = False
    return large[labels]


def _grow(mask: np.ndarray, margin_mm: float, mm: Sequence[float]) -> np.ndarray:
    size = [2 * max(1, round(margin_mm / edge)) + 1 for edge in mm[:2]]
    return ndimage.maximum_filter(mask, (*size, 1))
