"""Where the images of a series lie: along the normal of their plane, in mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .headers import DicomFile

SAME_POSITION_MM = 0.02  # far below any slice spacing, far above the rounding of positions
# A slice may lie this fraction of the spacing away from its evenly spaced position: scanners round positions, and a
# slice is thicker than that. More is an error: interpolating between slices would invent anatomy that wasn't scanned.
UNEVEN_OF_SPACING = 0.1
MISSING_FROM_SPACINGS = 1.5


def axes_of(file: DicomFile) -> np.ndarray:
    """(3, 3): unit vectors along an image's rows, down its columns, and along its normal, at right angles, in LPS.

    The first two are rounded in headers (PS3.3 C.7.6.2.1.1) and are orthonormalised here.
    """
    row, column = file.required("ImageOrientationPatient", 6).reshape(2, 3)
    row /= np.linalg.norm(row)
    column -= column @ row * row
    column /= np.linalg.norm(column)
    return np.array([row, column, np.cross(row, column)])


def positions_along_normal(files: Sequence[DicomFile]) -> np.ndarray:
    """(n,) mm: the position of each image along the normal of the first image's plane."""
    return np.array([file.required("ImagePositionPatient", 3) for file in files]) @ axes_of(files[0])[2]


def shared_positions(files: Sequence[DicomFile]) -> int:
    """How many images lie where another one lies already."""
    return int(np.count_nonzero(np.diff(np.sort(positions_along_normal(files))) < SAME_POSITION_MM))


def distinct_positions(files: Sequence[DicomFile]) -> np.ndarray:
    """The positions along the normal in mm, ascending, each once."""
    along = np.sort(positions_along_normal(files))
    return along[np.diff(along, prepend=-np.inf) >= SAME_POSITION_MM]


def are_even(along: np.ndarray) -> bool:
    """Whether ascending positions in mm have one distance, within ``UNEVEN_OF_SPACING``."""
    return len(along) > 1 and bool(astray(along).max() <= UNEVEN_OF_SPACING * mean_spacing(along))


def mean_spacing(along: np.ndarray) -> float:
    """The mean distance of ascending positions, mm."""
    return float((along[-1] - along[0]) / (len(along) - 1))


def astray(along: np.ndarray) -> np.ndarray:
    """(n,) mm: how far ascending positions lie from where even spacing would place them."""
    return np.abs(along - (along[0] + mean_spacing(along) * np.arange(len(along))))
