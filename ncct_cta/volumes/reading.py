"""CT volumes in any of the formats that researchers receive: NIfTI, NRRD, MHA, DICOM series."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..common.errors import InputError
from ..dicom.headers import is_dicom
from ..dicom.pixels import read_series
from ..dicom.series import Series, choose_series
from .hu_check import require_hu
from .itk_images import ITK_SUFFIXES, RAS_FROM_LPS, read_itk
from .nifti import Volume, nifti_suffix, read_ct, volume_from


def read_volume(path: str | Path, *, series: Series | None = None) -> Volume:
    """Read a CT in HU from a NIfTI, NRRD, MHA or MHD file, or from a folder that holds a DICOM series.

    Args:
        path: the file; or a folder, searched with its subfolders.
        series: of a DICOM folder, which one, as ``dicom.series.find_series`` has found it: no header is read again. By
            default the only CT volume in it.

    Returns:
        The volume. For a DICOM series, ``path`` is a label such as ``DICOM series 3``, not the folder: folders often
        carry the patient's name, and ``path`` ends up in messages.

    Raises:
        InputError: if the file or series is missing, damaged or not a CT in HU, or if the folder holds several.
    """
    if series is not None:
        return _read_dicom(series)
    path = Path(path)
    if (nifti_suffix(path) or path.suffix.lower() == ".hdr") and not path.is_dir():
        return read_ct(path)
    if path.suffix.lower() in ITK_SUFFIXES and path.is_file():
        return read_itk(path)
    if path.is_dir() or (path.is_file() and is_dicom(path)):
        return _read_dicom(choose_series(path))
    problem = "this is none of them" if path.exists() else "there is no such file or folder"
    raise InputError(f"{path}: expected NIfTI, {', '.join(ITK_SUFFIXES)} or a DICOM folder, but {problem}")


def is_volume_file(path: Path) -> bool:
    """Whether a path's name is that of a single-file volume: NIfTI, NRRD, MHA or MHD."""
    return bool(nifti_suffix(path)) or path.suffix.lower() in ITK_SUFFIXES


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
    try:
        require_hu(hu, series.label)
    except InputError as error:
        if series.first.has_rescale:
            raise
        # A missing intercept is not 0: most scanners store HU + 1024, and some HU.
        raise InputError(
            f"{series.label}: RescaleSlope or RescaleIntercept is missing, and the values as they are stored lie in "
            f"[{hu.min()}, {hu.max()}], but a CT in HU holds air near -1000; export the series with both elements"
        ) from error
    return volume_from(hu, RAS_FROM_LPS @ affine, series.label)
