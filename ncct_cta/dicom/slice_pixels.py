"""Reads the pixels of one image in HU, whatever the compression."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk

from ..common.hu import AIR_HU, SYNTHRAD_RANGE_HU, to_int16_hu
from .headers import DicomFile

# No image of a patient is packed more tightly: one with a single value is.
MOST_COMPRESSED = 1000


class UnreadablePixelsError(Exception):
    """Pixels that are damaged, cut short or compressed in a way that GDCM can't read."""


def read_slice(file: DicomFile) -> np.ndarray:
    """(rows, columns) int16 HU; padding outside the scanned circle becomes air.

    Raises:
        UnreadablePixelsError: if they can't be read.
    """
    if not _may_hold_its_matrix(file):
        raise UnreadablePixelsError
    try:
        with quiet_itk():
            # GDCM applies the file's own slope and intercept.
            image = sitk.GetArrayFromImage(sitk.ReadImage(str(file.path), imageIO="GDCMImageIO"))
    except (RuntimeError, MemoryError) as error:
        raise UnreadablePixelsError from error
    if image.ndim != 3 or image.shape[0] != 1:
        raise UnreadablePixelsError
    hu = to_int16_hu(image[0])
    padding = padding_hu(file)
    if padding is not None:
        hu[(hu >= padding[0]) & (hu <= padding[1])] = AIR_HU
    return hu


def _may_hold_its_matrix(file: DicomFile) -> bool:
    """Whether a file is large enough for the matrix that its header declares: what isn't there needs no memory."""
    declared = file.number("Rows") * file.number("Columns") * max(file.number("BitsAllocated", 16), 8) / 8
    try:
        size = os.path.getsize(file.path)
    except OSError:
        return False
    return declared <= size * (MOST_COMPRESSED if file.is_compressed else 1)


@contextmanager
def quiet_itk() -> Iterator[None]:
    """ITK prints its warnings with the file's path, which may hold the patient's name."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def padding_hu(file: DicomFile) -> tuple[int, int] | None:
    """Lowest and highest HU that mark padding (PixelPaddingValue, PS3.3 C.7.5.1.1.2); None if nothing does.

    A padding value within the HU range of tissue is ignored: masking it would remove tissue too.
    """
    value = file.numbers("PixelPaddingValue")
    if value is None:
        return None
    limit = file.numbers("PixelPaddingRangeLimit")
    stored = np.array([value[0], value[0] if limit is None else limit[0]])
    if file.number("PixelRepresentation") == 1:
        stored[stored > np.iinfo(np.int16).max] -= 2**16  # unsigned value written into a signed image
    low, high = sorted(stored * file.number("RescaleSlope", 1.0) + file.number("RescaleIntercept"))
    if high > AIR_HU and low < SYNTHRAD_RANGE_HU[1]:
        return None
    lowest, highest = to_int16_hu(np.array([low, high]))
    return int(lowest), int(highest)
