"""Read the pixels of a series in HU onto its grid, whatever the compression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..common.errors import InputError
from ..common.hu import AIR_HU, to_int16_hu
from .geometry import SeriesGrid, grid_of
from .headers import DicomFile, unreadable_number
from .series import Series
from .slice_pixels import UnreadablePixelsError, read_slice

UNREADABLE = "its pixels are damaged, cut short or compressed in a way that GDCM can't read; export the series again"


@dataclass(frozen=True)
class SeriesVolume:
    """The volume of a series.

    Args:
        hu: (X, Y, Z) int16 HU: column index, row index and slice index.
        affine: (4, 4), voxel indices to DICOM's patient coordinates (LPS mm), at right angles.
        remarks: what was done to the images besides reading them, or what may be wrong, in plain sentences.
    """

    hu: np.ndarray
    affine: np.ndarray
    remarks: tuple[str, ...]


def read_series(series: Series) -> SeriesVolume:
    """Read a series in HU.

    RescaleSlope and RescaleIntercept are applied slice by slice; padding outside the scanned circle becomes air. A
    series with gantry tilt is brought to a grid at right angles: each slice is shifted within its own plane, linearly
    interpolated, and rows or columns are added as needed.

    Raises:
        InputError: if slices are missing, unevenly spaced or duplicated, or pixels can't be read.
    """
    grid = grid_of(series)
    remarks = [series.remark] if series.remark else []
    if grid.duplicates:
        require_copies(series, grid)
        remarks.append(f"images that were there twice and count once: {len(grid.duplicates)}")
    if grid.shifts is not None:
        remarks.append("the slices are sheared (gantry tilt) and were shifted within their planes to a right angle")
    return SeriesVolume(_straighten(read_slices(series, grid.slices), grid), grid.affine, tuple(remarks))


def read_slices(series: Series, files: tuple[DicomFile, ...]) -> np.ndarray:
    """(X, Y, n) int16 HU of some of a series' files.

    Raises:
        InputError: if pixels can't be read, or some of the series' images lack what makes HU of them.
    """
    _require_rescale(series)
    stack: np.ndarray | None = None
    for index, file in enumerate(files):
        image = _read_slice(series, file)
        if stack is None:
            stack = np.empty((len(files), *image.shape), np.int16)
        if image.shape != stack.shape[1:]:
            raise _unreadable(series, file)
        stack[index] = image
    if stack is None:
        raise ValueError("no files, expected at least one")
    return stack.transpose(2, 1, 0)


def _require_rescale(series: Series) -> None:
    """Check that all images say how their values become HU, or none does: GDCM would read the others as they are."""
    lacking = [file for file in series.slices if not file.has_rescale]
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        for file in lacking:
            if "," in file.text(keyword):
                raise InputError(f"{series.label}: {unreadable_number(file, keyword)}")
    if 0 < len(lacking) < len(series.slices):
        raise InputError(
            f"{series.label}: RescaleSlope or RescaleIntercept is missing in {len(lacking)} of {len(series.slices)} "
            f"images, first in image {lacking[0].text('InstanceNumber') or 'without number'}, whose values can't be HU "
            "without; export the whole series again"
        )


def _read_slice(series: Series, file: DicomFile) -> np.ndarray:
    """(rows, columns) int16 HU."""
    try:
        return read_slice(file)
    except UnreadablePixelsError as error:
        raise _unreadable(series, file) from error


def _unreadable(series: Series, file: DicomFile) -> InputError:
    return InputError(f"{series.label}: image {file.text('InstanceNumber') or 'without number'}: {UNREADABLE}")


def require_copies(series: Series, grid: SeriesGrid) -> None:
    """Check that images at one position are the same image.

    Raises:
        InputError: if they are those of two scans.
    """
    for a, b in grid.duplicates:
        if not np.array_equal(_read_slice(series, a), _read_slice(series, b)):
            raise InputError(
                f"{series.label}: {len(grid.duplicates)} positions hold two different images, as of two scans, and no "
                "header tells which belongs to which; export each phase or reconstruction as a series of its own"
            )


def _straighten(hu: np.ndarray, grid: SeriesGrid) -> np.ndarray:
    """Shift each slice of a tilted series within its plane; the grid grows so that no pixel is lost."""
    if grid.shifts is None:
        return hu
    straight = np.empty(grid.shape, np.int16, order="F")
    for z, shift in enumerate(grid.shifts):
        padded = np.pad(hu[..., z].astype(np.float32), grid.margins, constant_values=AIR_HU)
        straight[..., z] = to_int16_hu(ndimage.shift(padded, shift, order=1, cval=AIR_HU))
    return straight
