"""CTs as Python programs hold them: an array and its affine, a nibabel or a SimpleITK image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from ..common.errors import InputError
from ..volumes.affines import in_mm, require_affine
from ..volumes.hu_check import require_hu
from ..volumes.itk_images import affine_of
from ..volumes.nifti import Volume, volume_from
from ..volumes.nifti_file import MIN_EDGE_VOXELS
from ..volumes.nifti_write import SYNTHETIC_NOTE, geometry_of

NAME = "the image"


def volume_of(image: Any, affine: Any = None) -> Volume:
    """Check a CT in memory as one in a file is checked.

    Args:
        image: an array (X, Y, Z) in HU with its ``affine``, a nibabel or a SimpleITK image.
        affine: (4, 4), from voxel indices to RAS+ mm; of an array alone.

    Raises:
        InputError: if it is none of these, isn't a CT in HU, or has no place.
    """
    if isinstance(image, np.ndarray) == (affine is None):
        raise InputError("an affine belongs to a NumPy array, and only to that; give synthesize(array, affine=affine)")
    if isinstance(image, nib.spatialimages.SpatialImage):
        return _checked(np.asanyarray(image.dataobj), _affine_mm(image))
    if isinstance(image, sitk.Image):
        return _checked(sitk.GetArrayFromImage(image).transpose(), affine_of(image))
    if isinstance(image, np.ndarray):
        return _checked(image, np.asarray(affine, dtype=float))
    raise InputError(
        f"the image is a {type(image).__name__}, expected a path, a NumPy array, or a nibabel or SimpleITK image"
    )


def like(hu: np.ndarray, image: Any) -> Any:
    """Return HU as the kind of image that they were made from, on its grid.

    Args:
        hu: (X, Y, Z) int16 HU.
        image: as ``volume_of`` takes it.
    """
    if isinstance(image, sitk.Image):
        made = sitk.GetImageFromArray(hu.transpose())
        made.CopyInformation(image)
        return made
    if isinstance(image, np.ndarray):
        return np.ascontiguousarray(hu).reshape(image.shape)
    header, affine = nib.Nifti1Header(), _affine_mm(image)
    header.set_xyzt_units("mm")
    if isinstance(image, nib.Nifti1Image):
        header, affine = image.header, image.affine
    header = geometry_of(header, np.int16, SYNTHETIC_NOTE)
    header.set_slope_inter(1, 0)
    kind = nib.Nifti2Image if isinstance(image, nib.Nifti2Image) else nib.Nifti1Image
    return kind(hu.reshape(image.shape), affine, header)


def _affine_mm(image: nib.spatialimages.SpatialImage) -> np.ndarray:
    """A nibabel image's affine in mm: a NIfTI header may say that it is in microns or metres."""
    return in_mm(image.header, image.affine) if isinstance(image, nib.Nifti1Pair) else image.affine


def _checked(values: np.ndarray, affine: np.ndarray) -> Volume:
    if isinstance(values, np.ma.MaskedArray):  # what is hidden would be taken for HU
        raise InputError(f"{NAME} is a masked array, expected HU in every voxel; fill it (air is -1000)")
    shape = values.shape
    if (
        values.dtype.kind not in "iuf"
        or len(shape) < 3
        or min(shape) < MIN_EDGE_VOXELS
        or any(n != 1 for n in shape[3:])
    ):
        raise InputError(
            f"{NAME} is {shape} of {values.dtype}, expected (X, Y, Z), one number a voxel; give one CT volume in HU"
        )
    if affine.shape != (4, 4):
        raise InputError(f"the affine is {affine.shape}, expected (4, 4), from voxel indices to RAS+ mm")
    if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise InputError(
            "the affine can't be inverted, expected one from voxel indices to RAS+ mm; give the scan's own"
        )
    values = values.reshape(shape[:3])
    if not np.isfinite(values).all():
        raise InputError(f"some voxels of {NAME} are NaN or infinite, expected HU; fill them (air is -1000)")
    exact = values.astype(np.int16) if abs(values).max() <= np.iinfo(np.int16).max else values
    hu = exact if np.array_equal(exact, values) else values.astype(np.float32)
    require_hu(hu, NAME)
    volume = volume_from(hu, affine, NAME)
    require_affine(Path(NAME), volume.header)
    return volume
