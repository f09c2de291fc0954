"""From the positions in the headers of a series to one regular grid, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..common.errors import InputError
from .headers import DicomFile
from .series import Series
from .sorting import SAME_POSITION_MM, axes_of, positions_along_normal

# A slice may lie this part of the spacing away from where even spacing places it: scanners round positions, and a
# slice is thicker than that. More is an error: interpolating between slices would invent what wasn't scanned.
UNEVEN_OF_SPACING = 0.1
MISSING_FROM_SPACINGS = 1.5
# In-plane drift of the slices over the whole series that is no gantry tilt, as a part of a pixel.
TILT_PIXELS = 0.25
# More drift, as a part of the way along the normal, is no tilt: gantries reach 30 degrees, this is 45.
MAX_TILT = 1.0
LISTED = 5


@dataclass(frozen=True, eq=False)
class SeriesGrid:
    """The regular grid of a series in DICOM's patient coordinates (LPS mm).

    Args:
        slices: the files from the first to the last along the normal.
        affine: (4, 4), voxel indices (column, row, slice) to LPS mm, at right angles; of a tilted series the grid that
            its slices are brought to, on the planes where they lie.
        shifts: (n, 2) pixels, how far each slice of a tilted series moves along columns and rows to get there; None
            without gantry tilt.
        margins: pixels that this adds ((before, after) along columns, (before, after) along rows).
        duplicates: pairs of files at one position; one of each is in ``slices``, and the two must be the same image.
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
    """The grid that a series' slices make.

    Slices are sorted along the normal of their plane, and their distance is the mean, as in ITK's readers. Where the
    slices drift within their plane (gantry tilt, or a sheared reformat) the grid stands at right angles on the first
    slice.

    Raises:
        InputError: if slices are missing, unevenly spaced or far from one line.
    """
    along = positions_along_normal(series.slices)
    order = np.argsort(along, kind="stable")
    kept, duplicates = _without_duplicates([series.slices[i] for i in order], along[order])
    along = positions_along_normal(kept)
    spacing = _even_spacing(series, along)
    first = kept[0]
    axes = axes_of(first)
    pixel_mm = first.required("PixelSpacing", 2)[::-1]  # DICOM gives the distance of the rows first
    positions = np.array([file.required("ImagePositionPatient", 3) for file in kept])
    shifts = (positions - positions[0]) @ axes[:2].T / pixel_mm
    _check_drift(series, float(np.ptp(shifts * pixel_mm, axis=0).max()), along[-1] - along[0])
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
        missing = [along[i] + k * usual for i in gaps for k in range(1, round(parts[i]))]
        raise InputError(
            f"{series.label}: slices are missing ({len(missing)}), at {_listed(missing)} mm along the series' axis, "
            f"where its slices lie {usual:.3g} mm apart; export the whole series again"
        )
    mean = (along[-1] - along[0]) / (len(along) - 1)
    astray = np.abs(along - (along[0] + mean * np.arange(len(along))))
    if astray.max() > UNEVEN_OF_SPACING * mean:
        raise InputError(
            f"{series.label}: slices lie {steps.min():.3g} to {steps.max():.3g} mm apart, most unevenly at "
            f"{along[astray.argmax()]:.1f} mm, expected one distance; reconstruct the series with even spacing"
        )
    return float(mean)


def _check_drift(series: Series, drift_mm: float, length_mm: float) -> None:
    if not drift_mm <= MAX_TILT * length_mm:
        raise InputError(
            f"{series.label}: slices drift {drift_mm:.3g} mm within their planes over {length_mm:.3g} mm, expected a "
            "gantry tilt below 45 degrees; its ImagePositionPatient is wrong: export the series again"
        )


def _listed(positions_mm: Sequence[float]) -> str:
    more = f" and {len(positions_mm) - LISTED} more" if len(positions_mm) > LISTED else ""
    return ", ".join(f"{mm:.1f}" for mm in positions_mm[:LISTED]) + more
