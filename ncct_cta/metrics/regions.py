"""Regions of a chest CT: where errors are measured, and where vessels are searched for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from ..common.hu import BONE_LOWER_HU, CONTRAST_LOWER_HU, ENHANCEMENT_HU, LUNG_UPPER_HU, SOFT_TISSUE_HU
from ..common.keys import BODY, LUNG, VESSEL
from .slabs import of_slabs

NONVESSEL = "nonvessel"


class Region(NamedTuple):
    """What tables call a region, and what it is."""

    title: str
    meaning: str


REGIONS = {
    BODY: Region("body", "the patient, with the air in the lungs and the bowel, without the air around and the table"),
    LUNG: Region("lung", "the lung mask, given or computed from the NCCT"),
    VESSEL: Region("vessels", "the vessel mask, given or where the CTA enhances by over 80 HU"),
    NONVESSEL: Region("body without vessels", "what contrast must not change"),
}
UNKNOWN_SPACING = (1.0, 1.0, 1.0)
TABLE_OPENING_MM = 2.0  # radius of the opening of the body: thinner objects (table, tubes, clothes) are removed
# Tissue beside the vessels: from where their partial volume ends to where the tissue is still the same.
SHELL_MM = (2.0, 6.0)
BONE_MARGIN_MM = 2.0  # partial volume and noise around bone
# How far an aligned pair's edges may still lie apart, and how thick a vessel's wall of partial volume is.
MISALIGNED_MM = 1.5
WALL_MM = 3.0
LEAST_BRANCH_MM3 = 20.0  # what branches off in the lungs is found in pieces
EVERY_NEIGHBOUR = np.ones((3, 3, 3), bool)
LEAST_VESSEL_MM3 = 50.0  # a smaller component is noise; this is a vessel of 2 mm and 16 mm length


def body_mask(ncct_hu: np.ndarray, spacing: Sequence[float] = UNKNOWN_SPACING) -> np.ndarray:
    """The patient without the surrounding air and the table.

    The largest soft-tissue component, its holes (lungs, bowel gas) filled slice by slice.

    Args:
        ncct_hu: (X, Y, Z) in HU, Z from foot to head.
        spacing: voxel edges in mm.

    Returns:
        boolean, same shape.
    """
    tissue = ncct_hu > LUNG_UPPER_HU
    # No opening on coarse voxels: one is thicker than a table, and three are thicker than a chest wall.
    iterations = round(TABLE_OPENING_MM / float(np.mean(spacing[:2])))
    if iterations:
        tissue = _in_slabs(lambda part: _opened(part, iterations), tissue)
    labels, count = ndimage.label(tissue)
    if count == 0:
        return np.zeros(ncct_hu.shape, bool)
    body = labels == np.argmax(np.bincount(labels[tissue]))
    box = ndimage.find_objects(body.view(np.uint8))[0]
    body[box] = _in_slabs(_without_holes, body[box])
    return body


def _in_slabs(work: Callable[[np.ndarray], np.ndarray], mask: np.ndarray) -> np.ndarray:
    """What treats each axial slice for itself, in parallel."""
    return np.concatenate(of_slabs(lambda part: work(mask[..., part]), mask.shape[2]), axis=2)


def _opened(mask: np.ndarray, iterations: int) -> np.ndarray:
    in_plane = ndimage.generate_binary_structure(2, 1)[..., None]  # a slice at a time: thin slices must not matter
    return ndimage.binary_opening(mask, in_plane, iterations=iterations)


def _without_holes(mask: np.ndarray) -> np.ndarray:
    filled = np.empty_like(mask)
    for z in range(mask.shape[2]):
        filled[..., z] = ndimage.binary_fill_holes(mask[..., z])
    return filled


def vessel_mask_from_pair(
    ncct_hu: np.ndarray, cta_hu: np.ndarray, spacing: Sequence[float] = UNKNOWN_SPACING
) -> np.ndarray:
    """Vessels of an aligned pair: what contrast alone brightens, and the voxels beside it that are brighter as well.

    Hysteresis: a voxel is certain if it is over 80 HU brighter than all within ``MISALIGNED_MM`` in the NCCT, which
    no misalignment of that size explains. From there the mask grows to voxels that are over 80 HU brighter than
    themselves, but no further than ``WALL_MM``: the rim of a lung, a diaphragm or a body that moved is no vessel.
    Specks and bone are left out.

    Args:
        ncct_hu: (X, Y, Z) in HU.
        cta_hu: the aligned CTA, same shape.
        spacing: voxel edges in mm.

    Returns:
        uint8, same shape.
    """
    cta = cta_hu.astype(np.int32)
    tissue = ncct_hu < BONE_LOWER_HU
    weak = (cta - ncct_hu > ENHANCEMENT_HU) & tissue
    certain = (cta - ndimage.maximum_filter(ncct_hu, _box_mm(MISALIGNED_MM, spacing)) > ENHANCEMENT_HU) & tissue
    grown = certain
    for _ in range(max(1, round(WALL_MM / float(np.min(spacing))))):
        grown = ndimage.binary_dilation(grown, EVERY_NEIGHBOUR) & weak
    return without_specks(grown, spacing, LEAST_BRANCH_MM3, EVERY_NEIGHBOUR).astype(np.uint8)


def regions(
    ncct_hu: np.ndarray, lung: np.ndarray, vessel: np.ndarray, spacing: Sequence[float] = UNKNOWN_SPACING
) -> dict[str, np.ndarray]:
    """The regions that scores are taken in: body, lung, vessel, and the body without vessels (what must not change).

    Args:
        ncct_hu: (X, Y, Z) in HU, Z from foot to head.
        lung: lung mask, same shape.
        vessel: vessel mask, same shape.
        spacing: voxel edges in mm.

    Returns:
        boolean masks, same shape.
    """
    return named_regions(body_mask(ncct_hu, spacing), lung > 0, vessel > 0)


def named_regions(body: np.ndarray, lung: np.ndarray, vessel: np.ndarray) -> dict[str, np.ndarray]:
    """The regions from boolean masks: lung and vessel voxels belong to the body too."""
    body = body | lung | vessel
    return {BODY: body, LUNG: lung, VESSEL: vessel, NONVESSEL: body & ~vessel}


def near_vessels(vessels: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The vessels and what their partial volume reaches, boolean."""
    return _grow(vessels, SHELL_MM[0], spacing)


def tissue_beside(
    vessels: np.ndarray, near: np.ndarray, ncct_hu: np.ndarray, outside: np.ndarray, spacing: Sequence[float]
) -> np.ndarray:
    """Soft tissue in a shell of ``SHELL_MM`` around vessels: the background of their contrast.

    Args:
        vessels: boolean, (X, Y, Z).
        near: the result of ``near_vessels``.
        ncct_hu: the scan without contrast in HU, in which soft tissue is told from fat and bone.
        outside: what is certainly not soft tissue: lung and air, boolean.
        spacing: voxel edges in mm.
    """
    low, high = SOFT_TISSUE_HU
    return _grow(vessels, SHELL_MM[1], spacing) & ~near & ~outside & (ncct_hu > low) & (ncct_hu < high)


def bright_without_contrast(ncct_hu: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Bone, calcium and metal with a margin: what a threshold in the CTA would mistake for vessels, boolean."""
    return _grow(without_specks(ncct_hu > CONTRAST_LOWER_HU, spacing), BONE_MARGIN_MM, spacing)


def thresholded_vessels(
    image_hu: np.ndarray, body: np.ndarray, bright: np.ndarray, spacing: Sequence[float]
) -> np.ndarray:
    """Vessels as one fixed threshold finds them: above 150 HU in the body, without bone and specks of noise.

    Args:
        image_hu: a CTA, real or synthetic, in HU, (X, Y, Z).
        body: boolean, same shape.
        bright: the result of ``bright_without_contrast`` for the NCCT.
        spacing: voxel edges in mm.

    Returns:
        boolean, same shape.
    """
    return without_specks((image_hu > CONTRAST_LOWER_HU) & body & ~bright, spacing)


def without_specks(
    mask: np.ndarray,
    spacing: Sequence[float],
    least_mm3: float = LEAST_VESSEL_MM3,
    neighbours: np.ndarray | None = None,
    certain: np.ndarray | None = None,
) -> np.ndarray:
    """The components of a mask that are large enough, boolean.

    Args:
        mask: boolean, (X, Y, Z).
        spacing: voxel edges in mm.
        least_mm3: volume of the smallest component that is kept.
        neighbours: which voxels touch, as ``scipy.ndimage.label`` takes it; None: those with a common face.
        certain: boolean, same shape: of these a component must have a voxel as well; None: it needn't.
    """
    labels, count = ndimage.label(mask, neighbours)
    found = labels[mask]
    large = np.bincount(found, minlength=count + 1) * float(np.prod(spacing)) >= least_mm3
    if certain is not None:
        large &= np.bincount(found[certain[mask]], minlength=count + 1) > 0
    kept = mask.copy()
    kept[mask] = large[found]
    return kept


def _grow(mask: np.ndarray, margin_mm: float, spacing: Sequence[float]) -> np.ndarray:
    """Dilate with a box, which is separable and therefore fast, by at least one voxel."""
    return ndimage.maximum_filter(mask.view(np.uint8), _box_mm(margin_mm, spacing), mode="constant").view(bool)


def _box_mm(margin_mm: float, spacing: Sequence[float]) -> list[int]:
    """The size in voxels of a box that reaches this far to each side, by at least one voxel."""
    return [2 * max(1, round(margin_mm / edge)) + 1 for edge in spacing]
