"""Vessels as one fixed method finds them in any CTA, real or synthetic: to tell what was invented and what is missing.

A vessel is what shows contrast: it is brighter than the NCCT, and as bright as blood with contrast, or in the lung at
least as bright as the edge of a vessel. Both are judged in a slightly smoothed image, in which noise is no vessel. Its
border is where the image itself has fallen half-way to the tissue around, as a radiologist measures a diameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType

import numpy as np
from scipy import ndimage

from ..common.hu import AIR_HU, CONTRAST_LOWER_HU, ENHANCEMENT_HU, LUNG_UPPER_HU
from .regions import without_specks
from .slabs import of_slabs, with_halo

SMOOTHING_MM = 0.8  # SD of a Gaussian: noise of 20 HU in voxels of 0.7 mm becomes 3 HU, and vessels of 2 mm stay
LIGHTLY_MM = 0.5  # where a vessel's brightness is looked up: more would darken vessels of 3 mm
DOUBT_HU = 40  # a vessel that is short of certain by no more than this is faint: neither invented nor missed
NOISE_HU, SDS = 20, 4  # smoothing leaves much of this noise in coarse voxels: what is certain there must stand above it
EDGE_MM = 2.0  # the border lies within this distance of where the vessel is certain
TRUNCATE = 3.0
HALF = 50  # per cent of a voxel: the full width at half maximum
NEARLY = 0.1


@dataclass(frozen=True)
class FoundVessels:
    """What is found in one image; boolean, (X, Y, Z), except for the percentage.

    Args:
        core: where it is certain that there is a vessel.
        whole: the vessels that have a core, up to their borders.
        faint: these and what might be vessel, however small: in the other image noise may make a vessel of it.
        percent: uint8, how much of each voxel is vessel: at the borders some, beside ``whole`` too.
    """

    core: np.ndarray
    whole: np.ndarray
    faint: np.ndarray
    percent: np.ndarray


@dataclass(frozen=True)
class Surroundings:
    """What the NCCT says of a case before any image is searched; all arrays (X, Y, Z).

    Args:
        tissue_hu: int16, the brightest value of the smoothed NCCT within ``EDGE_MM``: an edge that has moved a little
            is no contrast then.
        parenchyma_hu: the lungs' median.
        lung: boolean; without any voxel in it, vessels of the lung must be as bright as others.
        allowed: boolean: the body without what is bright without contrast.
        spacing: voxel edges in mm.
    """

    tissue_hu: np.ndarray
    parenchyma_hu: float
    lung: np.ndarray
    allowed: np.ndarray
    spacing: Sequence[float]

    def cut(self, part: tuple[slice | EllipsisType, ...]) -> Surroundings:
        """The same of a slab or a box."""
        tissue, lung, allowed = (each[part] for each in (self.tissue_hu, self.lung, self.allowed))
        return Surroundings(tissue, self.parenchyma_hu, lung, allowed, self.spacing)


def surroundings(
    ncct_hu: np.ndarray, body: np.ndarray, lung: np.ndarray, bright: np.ndarray, spacing: Sequence[float]
) -> Surroundings:
    """Prepare the search.

    Args:
        ncct_hu: the NCCT in HU, (X, Y, Z).
        body: boolean, same shape.
        lung: boolean, same shape; may be empty.
        bright: the result of ``regions.bright_without_contrast``.
        spacing: voxel edges in mm.
    """

    def tissue(part: slice) -> np.ndarray:
        wide, inner = with_halo(part, _halo(spacing[2]), ncct_hu.shape[2])
        smooth = _smoothed(ncct_hu[..., wide], spacing, SMOOTHING_MM)
        return np.rint(ndimage.maximum_filter(smooth, _near(spacing), mode="nearest")[..., inner]).astype(np.int16)

    parenchyma = float(np.median(ncct_hu[lung])) if lung.any() else AIR_HU
    tissues = np.concatenate(of_slabs(tissue, ncct_hu.shape[2]), axis=2)
    return Surroundings(tissues, parenchyma, lung, body & ~bright, spacing)


def find_vessels(image_hu: np.ndarray, around: Surroundings, general_hu: float = 0.0) -> FoundVessels:
    """Find the vessels of a CTA.

    A voxel is certain where the smoothed image is ``ENHANCEMENT_HU`` above the NCCT's tissue and above 150 HU, or above
    -400 HU in the lung, where partial volume darkens small vessels; faint if it lacks at most ``DOUBT_HU`` of either.
    In voxels so coarse that noise of 20 HU could make the one of the other, more is asked of what is certain. A vessel
    reaches to half of its brightness over the tissue's, in the lung over the parenchyma's. Components below 50 mm3 or
    without a certain voxel are no vessels, but may be faint.

    Args:
        image_hu: the CTA in HU, (X, Y, Z).
        around: of the same case.
        general_hu: by how much all of the image's tissue is brighter than it should be; what is faint must be brighter
            still. At least 0.
    """

    def of_slab(slab: slice) -> list[np.ndarray]:
        wide, inner = with_halo(slab, _halo(around.spacing[2]), image_hu.shape[2])
        found = _in_slab(image_hu[..., wide], around.cut((..., wide)), DOUBT_HU - general_hu)
        return [part[..., inner] for part in found]

    slabs = of_slabs(of_slab, image_hu.shape[2])
    core, percent, faint = (np.concatenate(parts, axis=2) for parts in zip(*slabs, strict=True))
    kept = without_specks(faint, around.spacing, certain=core)
    return FoundVessels(core & kept, (percent >= HALF) & kept, faint, percent)


def _in_slab(image: np.ndarray, around: Surroundings, doubt_hu: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Core, percentage and faint voxels of a slab, before small components are dropped."""
    smooth = _smoothed(image, around.spacing, SMOOTHING_MM)
    floor = np.where(around.lung, np.float32(LUNG_UPPER_HU), np.float32(CONTRAST_LOWER_HU))
    lack = np.maximum(around.tissue_hu + np.float32(ENHANCEMENT_HU), floor) - smooth
    core, faint = (around.allowed & (lack < doubt) for doubt in (-_margin_hu(around.spacing), doubt_hu))
    percent = np.zeros(core.shape, np.uint8)
    if core.any():
        box = _box_around(core, around.spacing)  # elsewhere there is nothing to look for
        percent[box] = _percent(image[box], core[box], around.cut(box))
    return core, percent, core | faint | (percent >= HALF)


def _percent(image: np.ndarray, core: np.ndarray, around: Surroundings) -> np.ndarray:
    """How much of each voxel near the core is vessel, uint8."""
    brightest = _with_a_neighbour(np.where(around.allowed, _smoothed(image, around.spacing, LIGHTLY_MM), AIR_HU))
    brightest = ndimage.maximum_filter(brightest, _near(around.spacing), mode="nearest")
    dark = np.where(around.lung, np.float32(around.parenchyma_hu), around.tissue_hu)
    share = (image - dark) / np.maximum(brightest - dark, 1)
    # Noise at both ends of the ramp must not add up: what is nearly all of a vessel is all, and nearly none is none.
    ramp = np.clip((share - 0.5) / (1 - 2 * NEARLY) + 0.5, 0, 1)
    near = ndimage.maximum_filter(core, _near(around.spacing), mode="constant") & around.allowed
    return np.where(near, np.rint(100 * ramp), 0).astype(np.uint8)


def _box_around(core: np.ndarray, spacing: Sequence[float]) -> tuple[slice, ...]:
    """The core's bounding box and all that the percentages near it depend on."""
    reach = [_radius(EDGE_MM, edge) + _halo(edge) for edge in spacing]
    found = ndimage.find_objects(core.view(np.uint8))[0]
    return tuple(slice(max(0, side.start - n), side.stop + n) for side, n in zip(found, reach, strict=True))


def _margin_hu(spacing: Sequence[float]) -> float:
    """By how much the noise that smoothing leaves of ``NOISE_HU`` may exceed ``DOUBT_HU``; 0 in voxels below 1.2 mm."""
    impulse = np.zeros([2 * _radius(TRUNCATE * SMOOTHING_MM, edge) + 1 for edge in spacing])
    impulse[tuple(size // 2 for size in impulse.shape)] = 1
    left = float(np.linalg.norm(_smoothed(impulse, spacing, SMOOTHING_MM)))
    return max(0, SDS * NOISE_HU * left - DOUBT_HU)


def _with_a_neighbour(image: np.ndarray) -> np.ndarray:
    """The brightest that a voxel and one beside it both are: one voxel alone would be as bright as its noise."""
    found = np.full_like(image, AIR_HU)
    for axis in range(image.ndim):
        shared, both = np.moveaxis(found, axis, 0)[1:], np.moveaxis(image, axis, 0)
        np.maximum(shared, np.minimum(both[1:], both[:-1]), out=shared)
    return found


def _near(spacing: Sequence[float]) -> list[int]:
    """The size in voxels of the box that reaches ``EDGE_MM`` to each side, but at least a voxel."""
    return [2 * _radius(EDGE_MM, edge) + 1 for edge in spacing]


def _halo(edge: float) -> int:
    """How many voxels of this length a filter's box, the neighbours and the smoothing before it reach into."""
    return _radius(EDGE_MM, edge) + 1 + _radius(TRUNCATE * SMOOTHING_MM, edge)


def _radius(distance_mm: float, edge: float) -> int:
    return max(1, round(distance_mm / edge))


def _smoothed(image: np.ndarray, spacing: Sequence[float], sd_mm: float) -> np.ndarray:
    sigma = [sd_mm / edge for edge in spacing]
    return ndimage.gaussian_filter(image.astype(np.float32), sigma, truncate=TRUNCATE)
