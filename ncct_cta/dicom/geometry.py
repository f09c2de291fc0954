"""Derive the regular grid of a series from the positions in its headers, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..common.errors import InputError
from .headers import DicomFile
from .positions import (
    MISSING_FROM_SPACINGS,
    SAME_POSITION_MM,
    UNEVEN_OF_SPACING,
    are_even,
    astray,
    axes_of,
    mean_spacing,
    positions_along_normal,
)
from .series import Series

# In-plane drift of the slices over the whole series that doesn't count as gantry tilt, as a fraction of a pixel.
TILT_PIXELS = 0.25
# More drift, as a fraction of the distance along the normal, is no tilt: gantries reach 30 degrees, this is 45.
MAX_TILT = 1.0
MOST_MARGIN = 16  # times the matrix that straightening adds: a long scan tilted by 45 degrees needs three
LISTED = 5
BLOCK_SLICES = 5  # fewer are no station


@dataclass(frozen=True, eq=False)
class SeriesGrid:
    """The regular grid of a series in DICOM's patient coordinates (LPS mm).

    Args:
        slices: the files from the first to the last along the normal.
        affine: (4, 4), voxel indices (column, row, slice) to LPS mm, at right angles; of a tilted series the grid that
            its slices are brought to, on the planes where they lie.
        shifts: (n, 2) pixels, how far each slice of a tilted series is moved along columns and rows; None
            without gantry tilt.
        margins: pixels that this adds ((before, after) along columns, (before, after) along rows).
        duplicates: pairs of files at one position; one of each is in ``slices``, and both must be the same image.
    """

    slices: tuple[DicomFile, ...]
    affine: np.ndarray
    shifts: np.ndarray | None
    margins: np.ndarray
    duplicates: tuple[tuple[DicomFile, DicomFile], ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows and slices, margins included."""
        first = self.slices[0]
        x, y = np.add([first.number("Columns"), first.number("Rows")], self.margins.sum(axis=1))
        return int(x), int(y), len(self.slices)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel edges in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def grid_of(series: Series) -> SeriesGrid:
    """Return the grid formed by a series' slices.

    Slices are sorted along the normal of their plane, and the slice spacing is the mean distance, as in ITK's readers.
    Where the slices drift within their plane (gantry tilt, or a sheared reformat) the grid stands at right angles on
    the first slice.

    Raises:
        InputError: if slices are missing, unevenly spaced or not on one line.
    """
    along = positions_along_normal(series.slices)
    order = np.argsort(along, kind="stable")
    kept, duplicates = _without_duplicates([series.slices[i] for i in order], along[order])
    along = positions_along_normal(kept)
    spacing = _even_spacing(series, along)
    first = kept[0]
    axes = axes_of(first)
    pixel_mm = first.required("PixelSpacing", 2)[::-1]  # DICOM gives the row spacing first
    positions = np.array([file.required("ImagePositionPatient", 3) for file in kept])
    shifts = (positions - positions[0]) @ axes[:2].T / pixel_mm
    _check_drift(series, float(np.ptp(shifts * pixel_mm, axis=0).max()), along[-1] - along[0])
    _check_margins(series, float(np.ptp(shifts, axis=0).max()))
    is_tilted = bool((np.abs(shifts) > TILT_PIXELS).any())
    margins = np.ceil(np.column_stack([-shifts.min(axis=0), shifts.max(axis=0)])).astype(int) * is_tilted
    affine = np.eye(4)
    affine[:3, :3] = axes.T * (*pixel_mm, spacing)
    affine[:3, 3] = positions[0] - affine[:3, :2] @ margins[:, 0]
    return SeriesGrid(tuple(kept), affine, shifts if is_tilted else None, margins, tuple(duplicates))


def _without_duplicates(
    files: Sequence[DicomFile], along: np.ndarray
) -> tuple[list[DicomFile], list[tuple[DicomFile, DicomFile]]]:
    kept, duplicates = [files[0]], []
    for file, step in zip(files[1:], np.diff(along), strict=True):
        if step < SAME_POSITION_MM:
            duplicates.append((kept[-1], file))
        else:
            kept.append(file)
    return kept, duplicates


def _even_spacing(series: Series, along: np.ndarray) -> float:
    """The slices' distance in mm."""
    if len(along) < 2:
        raise InputError(f"{series.label}: all images lie at one position, expected a volume of slices")
    steps = np.diff(along)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > MISSING_FROM_SPACINGS * usual)
    parts = steps / usual
    if len(gaps) and (np.abs(parts - np.rint(parts)) < UNEVEN_OF_SPACING * np.maximum(1, np.rint(parts))).all():
        raise _missing(series, along, gaps, usual)
    if not are_even(along):
        raise InputError(
            f"{series.label}: slices lie {steps.min():.3g} to {steps.max():.3g} mm apart, most unevenly at "
            f"{along[astray(along).argmax()]:.1f} mm, expected one distance{_left_out(series)}; {_remedy(steps, usual)}"
        )
    return mean_spacing(along)


def _missing(series: Series, along: np.ndarray, gaps: np.ndarray, usual: float) -> InputError:
    """The error of a series with gaps; ``gaps`` are the indices of the slices that they follow."""
    counts = np.rint(np.diff(along)[gaps] / usual).astype(np.int64) - 1
    # As many as are named: a slice a kilometre away would make millions.
    named = [
        along[i] + k * usual for i, count in zip(gaps, counts, strict=True) for k in range(1, min(count, LISTED) + 1)
    ]
    number = int(counts.sum())
    blocks = np.split(along, gaps + 1)
    if len(blocks) == 2 and min(map(len, blocks)) >= BLOCK_SLICES and number >= BLOCK_SLICES:
        (first, second) = (f"{block[0]:.1f} to {block[-1]:.1f} mm" for block in blocks)
        return InputError(
            f"{series.label}: its slices lie in two blocks, {first} and {second} along its axis, as of two stations"
            f"{_left_out(series)}; move the images of the block that shows the chest to a folder of their own"
        )
    more = f" and {number - LISTED} more" if number > LISTED else ""
    listed = ", ".join(f"{mm:.1f}" for mm in named[:LISTED]) + more
    return InputError(
        f"{series.label}: slices are missing ({number}), at {listed} mm along the series' axis, where its slices lie "
        f"{usual:.3g} mm apart{_left_out(series)}; export the whole series again"
    )


def _left_out(series: Series) -> str:
    return f"; left out: {series.listed_left_out}" if series.left_out else ""


def _remedy(steps: np.ndarray, usual: float) -> str:
    """What helps where slices are uneven: two passes that overlap have short steps in one stretch only."""
    short = np.flatnonzero(steps < (1 - UNEVEN_OF_SPACING) * usual)
    if len(short) > 1 and np.ptp(short) < len(steps) / 2:
        return "two passes seem to overlap there: move the images of each pass to a folder of its own"
    return "reconstruct the series with even spacing"


def _check_drift(series: Series, drift_mm: float, length_mm: float) -> None:
    if not drift_mm <= MAX_TILT * length_mm:
        raise InputError(
            f"{series.label}: slices drift {drift_mm:.3g} mm within their planes over {length_mm:.3g} mm, expected a "
            "gantry tilt below 45 degrees; its ImagePositionPatient is wrong: export the series again"
        )


def _check_margins(series: Series, pixels: float) -> None:
    """Pixels of a millionth of a millimetre would make a grid that fills the memory."""
    most = MOST_MARGIN * max(series.first.number("Columns"), series.first.number("Rows"))
    if not pixels <= most:
        raise InputError(
            f"{series.label}: slices drift {pixels:.3g} pixels within their planes, expected at most {most:.0f}; its "
            "PixelSpacing is wrong: export the series again"
        )
