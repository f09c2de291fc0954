"""Grids: the coarse ones used by registration and quality control, and the one on which a pair is written."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from ...common.errors import InputError
from ...common.hu import AIR_HU, SYNTHRAD_RANGE_HU, to_int16_hu
from ...transforms.lung_mask import compute_lung_mask
from ...volumes.itk_images import to_sitk
from ...volumes.nifti import Volume, volume_from
from ...volumes.orientation import from_ras, spacing_to_ras, to_ras

COVERAGE_MM = 4.0  # the common field of view is found on voxels of about this size
MIN_COMMON_MM = 50.0  # less than this along an axis isn't enough to train on


def lung_mask_of(volume: Volume) -> np.ndarray:
    """The lung mask of a CT in any orientation, (X, Y, Z) uint8, by ``transforms.lung_mask``.

    Raises:
        InputError: if there are no lungs to be found.
    """
    ras, orientation = to_ras(volume.array, volume.affine)
    return from_ras(compute_lung_mask(ras, spacing_to_ras(volume.spacing, orientation)), orientation)


def mask_image(mask: np.ndarray, ct: sitk.Image) -> sitk.Image:
    """A mask (X, Y, Z) as a uint8 image on the grid of the CT that it belongs to."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8, copy=False).transpose(2, 1, 0))
    image.CopyInformation(ct)
    return image


def isotropic_grid(image: sitk.Image, mm: float, margin_mm: float = 0.0) -> sitk.Image:
    """An empty uint8 image of cubic voxels along the patient's axes (LPS): covering an image and a margin around it."""
    ends = [(-0.5, n - 0.5) for n in image.GetSize()]
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint(corner) for corner in itertools.product(*ends)])
    low, high = corners.min(axis=0) - margin_mm, corners.max(axis=0) + margin_mm
    size = np.maximum(np.ceil((high - low) / mm - 1e-6), 1).astype(int)
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing([mm] * 3)
    grid.SetOrigin(((low + high) / 2 - (size - 1) * mm / 2).tolist())
    return grid


def coarse_hu(ct: sitk.Image, mm: float, margin_mm: float = 0.0) -> sitk.Image:
    """A CT averaged onto ``isotropic_grid``: float32 HU, air outside."""
    factors = [min(n, max(1, int(mm / own))) for n, own in zip(ct.GetSize(), ct.GetSpacing(), strict=True)]
    averaged = sitk.BinShrink(sitk.Cast(ct, sitk.sitkFloat32), factors)
    return sitk.Resample(averaged, isotropic_grid(ct, mm, margin_mm), sitk.Transform(), sitk.sitkLinear, AIR_HU)


def on_grid(mask: sitk.Image, grid: sitk.Image, transform: sitk.Transform | None = None) -> sitk.Image:
    """A mask on another grid: 1 where linear interpolation gives at least one half; 0 outside.

    Nearest-neighbour interpolation would work too, but on coarse voxels a tiny shift can move a whole row.

    Args:
        mask: 0 and 1.
        grid: gives shape and geometry.
        transform: from points of the grid to points of the mask; by default the identity.
    """
    share = sitk.Resample(mask, grid, transform or sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return share >= 0.5


def full_mask(image: sitk.Image) -> sitk.Image:
    """A mask that is 1 in all of an image's voxels: its field of view."""
    mask = sitk.Image(image.GetSize(), sitk.sitkUInt8) + 1
    mask.CopyInformation(image)
    return mask


def mask_array(mask: sitk.Image) -> np.ndarray:
    """A mask as a boolean array (X, Y, Z)."""
    return sitk.GetArrayFromImage(mask).transpose(2, 1, 0) > 0


def common_box(ncct: sitk.Image, cta: sitk.Image, transform: sitk.Transform) -> tuple[slice, slice, slice]:
    """Return the bounding box, in the NCCT's voxels, of the region that both scans cover.

    Args:
        ncct: gives the grid.
        cta: the scan whose field of view counts.
        transform: from the NCCT to the CTA.

    Raises:
        InputError: if they share less than ``MIN_COMMON_MM`` along an axis.
    """
    factors = [min(n, max(1, int(COVERAGE_MM / mm))) for n, mm in zip(ncct.GetSize(), ncct.GetSpacing(), strict=True)]
    covered = on_grid(full_mask(cta), sitk.Shrink(full_mask(ncct), factors), transform)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(covered)
    bounds = shape.GetBoundingBox(1) if shape.GetLabels() else (0,) * 6
    box, common = [], []
    for axis, factor in enumerate(factors):
        n, first, count = ncct.GetSize()[axis], bounds[axis] * factor, bounds[axis + 3] * factor
        # The last coarse voxel may extend beyond the image: sizes are seldom multiples.
        last = n if first + count + factor > n else first + count
        box.append(slice(first, last))
        common.append((last - first) * ncct.GetSpacing()[axis] if count else 0.0)
    if min(common) < MIN_COMMON_MM:
        raise InputError(
            f"NCCT and CTA have {' x '.join(f'{mm:.0f}' for mm in common)} mm in common, expected {MIN_COMMON_MM:g} mm "
            "or more along each axis; give two scans of the same part of the patient"
        )
    return box[0], box[1], box[2]


def crop(volume: Volume, box: Sequence[slice]) -> Volume:
    """Crop a volume without changing its voxels."""
    affine = volume.affine.copy()
    affine[:3, 3] = (affine @ [*(side.start for side in box), 1])[:3]
    return volume_from(volume.array[tuple(box)], affine, volume.path)


def with_spacing(volume: Volume, spacing: Sequence[float]) -> Volume:
    """A volume resampled to this spacing in mm along its own axes; its outer edges stay in place.

    Args:
        volume: the CT.
        spacing: along the axes closest to X (right-left), Y (front-back) and Z (feet-head), above 0.
    """
    orientation = to_ras(volume.array, volume.affine)[1]
    own_order = [spacing[int(axis)] for axis in orientation[:, 0]]
    factors = np.divide(own_order, volume.spacing)
    shape = np.maximum(np.round(np.divide(volume.shape, factors)), 1).astype(int)
    affine = volume.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] = (volume.affine @ [*((factors - 1) / 2), 1])[:3]
    grid = to_sitk(volume_from(np.zeros(shape, np.int16), affine, volume.path))
    return volume_from(resample_hu(to_sitk(volume), grid, sitk.Transform()), affine, volume.path)


def resample_hu(ct: sitk.Image, grid: sitk.Image, transform: sitk.Transform) -> np.ndarray:
    """A CT on another grid, int16 HU, air outside.

    By cubic B-splines: linear interpolation would blur the CTA and not the NCCT beside it, and a network would learn
    that. Overshoot of the spline at edges is clipped to the CT's own range.

    Args:
        ct: in HU.
        grid: gives shape and geometry.
        transform: from points of the grid to points of ``ct``, LPS mm.

    Returns:
        (X, Y, Z) in the grid's axis order.
    """
    unpadded = sitk.Clamp(ct, sitk.sitkFloat32, SYNTHRAD_RANGE_HU[0])  # paddings such as -3024 would ring
    resampled = sitk.Resample(unpadded, grid, transform, sitk.sitkBSpline3, AIR_HU)
    extremes = sitk.MinimumMaximumImageFilter()
    extremes.Execute(unpadded)
    clipped = sitk.Clamp(resampled, sitk.sitkFloat32, min(AIR_HU, extremes.GetMinimum()), extremes.GetMaximum())
    return to_int16_hu(sitk.GetArrayFromImage(clipped).transpose(2, 1, 0))
