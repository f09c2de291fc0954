"""Vessels as one fixed method finds them in any CTA, real or synthetic: to tell what was invented and what is missing.

A vessel is what shows contrast: it is brighter than the NCCT, and as bright as blood with contrast, or in the lung at
least as bright as the edge of a vessel. Both are judged in a slightly smoothed image, in which noise is no vessel. Its
border is where the image itself has fallen half-way to the tissue around, as a radiologist measures a diameter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..common.hu import AIR_HU, CONTRAST_LOWER_HU, ENHANCEMENT_HU, LUNG_UPPER_HU
from .regions import LEAST_VESSEL_MM3
from .slabs import of_slabs, with_halo

SMOOTHING_MM = 0.8  # SD of a Gaussian: noise of 20 HU in voxels of 0.7 mm becomes 3 HU, and vessels of 2 mm stay
LIGHTLY_MM = 0.5  # where a vessel's brightness is looked up: more would darken vessels of 3 mm
DOUBT_HU = 40  # a vessel that is short of certain by no more than this is faint: neither invented nor missed
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
        faint: these and what might be vessel.
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
        ncct_hu: the NCCT.
        body: boolean.
        lung: boolean; without any voxel in it, vessels of the lung must be as bright as others.
        bright: what is bright without contrast, see ``regions.bright_without_contrast``.
        spacing: voxel edges in mm.
    """

    ncct_hu: np.ndarray
    body: np.ndarray
    lung: np.ndarray
    bright: np.ndarray
    spacing: Sequence[float]

    def cut(self, part: slice) -> Surroundings:
        """The same of a slab."""
        ncct, body, lung, bright = (each[..., part] for each in (self.ncct_hu, self.body, self.lung, self.bright))
        return Surroundings(ncct, body, lung, bright, self.spacing)


def find_vessels(image_hu: np.ndarray, around: Surroundings) -> FoundVessels:
    """Find the vessels of a CTA.

    A voxel is certain where the smoothed image is ``ENHANCEMENT_HU`` above the smoothed NCCT and above 150 HU, or above
    -400 HU in the lung, where partial volume darkens small vessels; faint if it lacks at most ``DOUBT_HU`` of either.
    The NCCT is taken where it is brightest within ``EDGE_MM``, so that an edge that has moved a little isn't contrast.
    A vessel reaches to half of its brightness over the tissue's: the NCCT's, or in the lung its median. Components
    below 50 mm3 or without a certain voxel are dropped.

    Args:
        image_hu: the CTA in HU, (X, Y, Z).
        around: of the same case.
    """
    parenchyma = float(np.median(around.ncct_hu[around.lung])) if around.lung.any() else AIR_HU
    halo = _radius(EDGE_MM, around.spacing)[2] + _radius(TRUNCATE * SMOOTHING_MM, around.spacing)[2]

    def of_slab(part: slice) -> list[np.ndarray]:
        wide, inner = with_halo(part, halo, image_hu.shape[2])
        return [found[..., inner] for found in _in_slab(image_hu[..., wide], around.cut(wide), parenchyma)]

    slabs = of_slabs(of_slab, image_hu.shape[2])
    core, percent, faint = (np.concatenate(parts, axis=2) for parts in zip(*slabs, strict=True))
    kept = _large_components(faint, core, around.spacing)
    return FoundVessels(core & kept, (percent >= HALF) & kept, kept, percent)


def _in_slab(image: np.ndarray, around: Surroundings, parenchyma: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Core, percentage and faint voxels of a slab, before small components are dropped."""
    spacing, lung = around.spacing, around.lung
    reach = [2 * n + 1 for n in _radius(EDGE_MM, spacing)]
    smooth, tissue = (_smoothed(each, spacing, SMOOTHING_MM) for each in (image, around.ncct_hu))
    tissue = ndimage.maximum_filter(tissue, reach, mode="nearest")
    allowed = around.body & ~around.bright
    floor = np.where(lung, np.float32(LUNG_UPPER_HU), np.float32(CONTRAST_LOWER_HU))
    core, faint = (
        allowed & (smooth - tissue > ENHANCEMENT_HU - doubt) & (smooth > floor - doubt) for doubt in (0, DOUBT_HU)
    )
    if not core.any():
        return core, np.zeros(core.shape, np.uint8), faint
    near = ndimage.maximum_filter(core, reach, mode="constant") & allowed
    brightest = np.where(allowed, _smoothed(image, spacing, LIGHTLY_MM), AIR_HU)
    brightest = ndimage.maximum_filter(brightest, reach, mode="nearest")
    dark = np.where(lung, np.float32(parenchyma), tissue)
    share = (image - dark) / np.maximum(brightest - dark, 1)
    # Noise at both ends of the ramp must not add up: what is nearly all of a vessel is all, and nearly none is none.
    ramp = np.clip((share - 0.5) / (1 - 2 * NEARLY) + 0.5, 0, 1)
    percent = np.where(near, np.rint(100 * ramp), 0).astype(np.uint8)
    return core, percent, faint | (percent >= HALF)


def _smoothed(image: np.ndarray, spacing: Sequence[float], sd_mm: float) -> np.ndarray:
    sigma = [sd_mm / edge for edge in spacing]
    return ndimage.gaussian_filter(image.astype(np.float32), sigma, truncate=TRUNCATE)


def _radius(distance_mm: float, spacing: Sequence[float]) -> list[int]:
    return [max(1, round(distance_mm / edge)) for edge in spacing]


def _large_components(faint: np.ndarray, core: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The components of the faint voxels that are large enough for a vessel and certain somewhere."""
    labels, count = ndimage.label(faint)
    found = labels[faint]
    large = np.bincount(found, minlength=count + 1) * float(np.prod(spacing)) >= LEAST_VESSEL_MM3
    large &= np.bincount(found, weights=core[faint], minlength=count + 1) > 0
    kept = faint.copy()
    kept[faint] = large[found]
    return kept
