"""Volumes as SimpleITK has them, and the files that are read through it: NRRD, MHA and MHD."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..common.errors import InputError, reason_of
from ..common.hu import to_int16_hu
from ..dicom.slice_pixels import quiet_itk
from .affines import require_affine
from .detached import META_SUFFIXES, NRRD_SUFFIXES, require_voxels_beside
from .hu_check import require_hu
from .itk_headers import DamagedImageError, held_bytes
from .nifti import Volume, volume_from
from .nifti_file import MIN_EDGE_VOXELS

# By name: SimpleITK would try some twenty formats on what calls itself one of these.
READERS = dict.fromkeys(NRRD_SUFFIXES, "NrrdImageIO") | dict.fromkeys(META_SUFFIXES, "MetaImageIO")
ITK_SUFFIXES = tuple(READERS)
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Between two unit axes; a sheared grid has no direction matrix in SimpleITK.
RIGHT_ANGLE = 1e-3


def to_sitk(volume: Volume) -> sitk.Image:
    """Return the volume as a SimpleITK image: LPS mm, the same voxels.

    Raises:
        InputError: if the grid's axes aren't at right angles.
    """
    lps = RAS_FROM_LPS @ volume.affine
    direction = lps[:3, :3] / np.linalg.norm(lps[:3, :3], axis=0)
    if not np.allclose(direction.T @ direction, np.eye(3), atol=RIGHT_ANGLE):
        raise InputError(
            f"{volume.path}: the axes of its affine don't stand at right angles, which registration needs; resample it "
            "onto a grid that does (3D Slicer: Resample Scalar/Vector/DWI Volume)"
        )
    image = sitk.GetImageFromArray(volume.array.transpose(2, 1, 0))
    image.SetSpacing(volume.spacing)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def affine_of(image: sitk.Image) -> np.ndarray:
    """(4, 4), from a SimpleITK image's voxel indices to RAS+ mm; a 2-D or 4-D image has none.

    Raises:
        InputError: if the image isn't 3-D.
    """
    if image.GetDimension() != 3:
        raise InputError(f"the image has {image.GetDimension()} dimensions, expected 3; give one CT volume")
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return RAS_FROM_LPS @ lps


def read_itk(path: Path) -> Volume:
    """Read a CT in HU from a file that SimpleITK knows: one of ``ITK_SUFFIXES``.

    Raises:
        InputError: if the file is damaged, names voxels outside its folder, holds no single volume of numbers, has no
            place, or isn't in HU.
    """
    try:
        require_voxels_beside(path)
        held = held_bytes(path)
        with quiet_itk():
            reader = sitk.ImageFileReader()
            reader.SetImageIO(READERS[path.suffix.lower()])
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            _require_one_volume(path, reader)
            voxels = math.prod(reader.GetSize())
            if held is not None and voxels > held:  # found before ITK takes memory for them
                raise DamagedImageError(f"the header says {voxels} voxels, the file holds {held} bytes")
            image = reader.Execute()
        array = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
        row = array.shape[0] * array.itemsize
        if held is not None and not 0 <= held - array.nbytes < row:  # less than a row may be a line's end
            raise DamagedImageError(f"the header says {array.nbytes} bytes of voxels, the file holds {held}")
    except OSError as error:
        raise InputError(f"{path}: can't be read ({reason_of(error)}); check its permissions and the disk") from error
    except (RuntimeError, MemoryError, OverflowError, DamagedImageError) as error:
        reason = f" ({error})" if isinstance(error, DamagedImageError) else ""
        raise InputError(f"{path}: not readable, damaged or cut short{reason}; copy it again") from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path}: some voxels are NaN or infinite, expected HU; fill them (air is -1000)")
    require_hu(array, path)
    volume = volume_from(to_int16_hu(array), affine_of(image), path)
    require_affine(path, volume.header)
    return volume


def _require_one_volume(path: Path, reader: sitk.ImageFileReader) -> None:
    size, values = reader.GetSize(), reader.GetNumberOfComponents()
    if len(size) != 3 or values != 1 or min(size) < MIN_EDGE_VOXELS:
        raise InputError(
            f"{path}: the shape is {size} with {values} values per voxel, expected three axes and one value; give one "
            "CT volume per file"
        )
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(f"{path}: the voxels are complex, expected one number each; give the CT in HU")
