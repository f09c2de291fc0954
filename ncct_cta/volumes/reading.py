"""CT volumes in any of the formats that researchers get: NIfTI, NRRD, MHA, DICOM series."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from ..common.errors import InputError
from ..common.hu import to_int16_hu
from ..dicom.headers import is_dicom
from ..dicom.pixels import read_series
from ..dicom.series import Series, choose_series
from .detached import META_SUFFIXES, NRRD_SUFFIXES, require_voxels_beside
from .nifti import MIN_SLICES, NiftiHeader, Volume, nifti_suffix, read_ct, require_hu

# By name: SimpleITK would try some twenty formats on what calls itself one of these.
READERS = dict.fromkeys(NRRD_SUFFIXES, "NrrdImageIO") | dict.fromkeys(META_SUFFIXES, "MetaImageIO")
SITK_SUFFIXES = (*NRRD_SUFFIXES, *META_SUFFIXES)
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
# Between two unit axes; a sheared grid has no direction matrix in SimpleITK.
RIGHT_ANGLE = 1e-3


def read_volume(path: str | Path, *, series: Series | None = None) -> Volume:
    """Read a CT in HU from a NIfTI, NRRD, MHA or MHD file, or from a folder that holds a DICOM series.

    Args:
        path: the file; or a folder, searched with its subfolders.
        series: of a DICOM folder, which one, as ``dicom.series.find_series`` has found it: no header is read again. By
            default the only CT volume in it.

    Returns:
        The volume. Of a DICOM series ``path`` is a label such as ``DICOM series 3``, not the folder: folders often
        carry the patient's name, and ``path`` ends up in messages.

    Raises:
        InputError: if the file or series is missing, damaged or not a CT in HU, or if the folder holds several.
    """
    if series is not None:
        return _read_dicom(series)
    path = Path(path)
    if nifti_suffix(path) and not path.is_dir():
        return read_ct(path)
    if path.suffix.lower() in SITK_SUFFIXES and path.is_file():
        return _read_sitk(path)
    if path.is_dir() or (path.is_file() and is_dicom(path)):
        return _read_dicom(choose_series(path))
    problem = "this is none of them" if path.exists() else "there is no such file or folder"
    raise InputError(f"{path}: expected NIfTI, {', '.join(SITK_SUFFIXES)} or a DICOM folder, but {problem}")


def is_volume_file(path: Path) -> bool:
    """Whether a name is that of a volume in one file: NIfTI, NRRD, MHA or MHD."""
    return bool(nifti_suffix(path)) or path.suffix.lower() in SITK_SUFFIXES


def header_from_affine(affine: np.ndarray, shape: tuple[int, ...]) -> NiftiHeader:
    """A NIfTI-1 header of int16 HU with this geometry in its sform and qform, code "scanner", in mm.

    Args:
        affine: (4, 4), voxel indices to RAS+ mm.
        shape: (X, Y, Z).
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    return header


def volume_from(hu: np.ndarray, affine: np.ndarray, path: str | Path) -> Volume:
    """A volume from HU and a grid.

    Args:
        hu: (X, Y, Z) int16 HU.
        affine: (4, 4), voxel indices to RAS+ mm.
        path: what messages call it.
    """
    return Volume(hu, header_from_affine(affine, hu.shape), Path(path), hu.shape)


def to_sitk(volume: Volume) -> sitk.Image:
    """The volume as SimpleITK has it: LPS mm, the same voxels.

    Raises:
        InputError: if the grid's axes don't stand at right angles.
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


def _read_sitk(path: Path) -> Volume:
    try:
        require_voxels_beside(path)
        image = sitk.ReadImage(str(path), imageIO=READERS[path.suffix.lower()])
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: not readable, damaged or cut short; copy it again") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or min(image.GetSize()) < MIN_SLICES:
        raise InputError(
            f"{path}: the shape is {image.GetSize()} with {image.GetNumberOfComponentsPerPixel()} values a voxel, "
            f"expected one value a voxel and three axes; give one CT volume a file"
        )
    array = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path}: some voxels are NaN or infinite, expected HU; fill them (air is -1000)")
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return require_hu(volume_from(to_int16_hu(array), RAS_FROM_LPS @ lps, path))


def _read_dicom(series: Series) -> Volume:
    read = read_series(series)
    return dicom_volume(read.hu, read.affine, series)


def dicom_volume(hu: np.ndarray, affine: np.ndarray, series: Series) -> Volume:
    """What was read of a DICOM series, checked to be HU.

    Args:
        hu: (X, Y, Z) int16, the series' values or every n-th slice of them.
        affine: (4, 4), voxel indices to LPS mm.
        series: gives the name and says whether its headers say how values become HU.

    Raises:
        InputError: if the values can't be HU.
    """
    volume = volume_from(hu, RAS_FROM_LPS @ affine, series.label)
    try:
        return require_hu(volume)
    except InputError as error:
        if series.first.has_rescale:
            raise
        # A missing intercept is not 0: most scanners store HU + 1024, and some HU.
        raise InputError(
            f"{series.label}: RescaleSlope or RescaleIntercept is missing, and the values as they are stored lie in "
            f"[{hu.min()}, {hu.max()}], but a CT in HU holds air near -1000; export the series with both elements"
        ) from error
