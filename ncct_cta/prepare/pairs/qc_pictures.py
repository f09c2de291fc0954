"""The picture that shows whether a CTA is aligned with its NCCT: checkerboard and lung outline, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...common.hu import LUNG_WINDOW_HU, REGISTRATION_WINDOW_HU
from ...common.panels import save_figure

TILE_MM = 40.0
PANEL_INCHES = 3.2
HEAD_INCHES, FOOT_INCHES, LABEL_INCHES, GAP_INCHES = 0.75, 0.75, 0.35, 0.05
WORDS, SMALL_WORDS = 13, 11
# By the fixed axis of an RAS+ volume: the plane's name, and the letters at the picture's left and top.
PLANES = {2: ("axial", "R", "A"), 1: ("coronal", "R", "S"), 0: ("sagittal", "A", "S")}
OUTLINE = "#ffd400"
CAPTION = (
    "Checkerboard: tiles of NCCT and CTA in turn ({tile:g} mm), HU {low} to {high}; edges of lungs, ribs and heart "
    "must run on over the tiles' borders.\n"
    "Outline: the NCCT's lungs on the CTA, HU {lung_low} to {lung_high}; it must follow the CTA's lungs. Before: as "
    "the scanner's coordinates have it."
)


def plane(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """A slice of an RAS+ volume as radiologists look at it: see ``PLANES`` for what is left and on top."""
    cut = volume[(slice(None),) * axis + (index,)]  # np.take would copy a volume that isn't contiguous
    return cut[::-1, ::-1].T


def mark_sides(panel: Axes, left: str, top: str) -> None:
    """Write the patient's side at the left and at the top."""
    panel.text(0.02, 0.5, left, color=OUTLINE, transform=panel.transAxes, fontsize=WORDS)
    panel.text(0.5, 0.98, top, color=OUTLINE, transform=panel.transAxes, fontsize=WORDS, va="top", ha="center")


def checkerboard(first: np.ndarray, second: np.ndarray, tile: Sequence[float]) -> np.ndarray:
    """Alternate tiles of two pictures of the same shape; ``tile`` is the (rows, columns) of a tile in pixels."""
    rows, columns = np.ogrid[: first.shape[0], : first.shape[1]]
    odd = ((rows // max(tile[0], 1)).astype(int) + (columns // max(tile[1], 1)).astype(int)) % 2
    return np.where(odd, second, first)


def draw_pair(
    path: Path,
    case: str,
    ncct_hu: np.ndarray,
    ctas_hu: Mapping[str, np.ndarray],
    lung: np.ndarray,
    spacing: Sequence[float],
) -> None:
    """Draw a pair and write it as PNG.

    Args:
        path: path of the picture.
        case: for the title.
        ncct_hu: (X, Y, Z) RAS+, in HU.
        ctas_hu: the CTA under the keys "before" and "after" (registration); same shape.
        lung: the NCCT's lung mask, same shape.
        spacing: voxel edges in mm.
    """
    columns = [(kind, stage) for kind in ("checkerboard", "outline") for stage in ctas_hu]
    extents = {axis: extent_mm(ncct_hu.shape, spacing, axis) for axis in PLANES}
    figure, axes = panel_grid(list(extents.values()), len(columns))
    for row, (axis, (name, left, top)) in zip(axes, PLANES.items(), strict=True):
        index = richest(lung, axis)
        ncct, outline = plane(ncct_hu, axis, index), plane(lung, axis, index)
        for panel, (kind, stage) in zip(row, columns, strict=True):
            cta = plane(ctas_hu[stage], axis, index)
            _show(panel, kind, ncct, cta, outline, extents[axis])
            mark_sides(panel, left, top)
        row[0].set_ylabel(f"{name}, slice {index + 1} of {ncct_hu.shape[axis]}", fontsize=SMALL_WORDS)
    for panel, (kind, stage) in zip(axes[0], columns, strict=True):
        panel.set_title(f"{kind}, {stage}", fontsize=WORDS, pad=4)
    _add_words(figure, case)
    save_figure(figure, path)


def _show(
    panel: Axes, kind: str, ncct: np.ndarray, cta: np.ndarray, lung: np.ndarray, size_mm: tuple[float, float]
) -> None:
    width, height = size_mm
    if kind == "checkerboard":
        low, high = REGISTRATION_WINDOW_HU
        image = checkerboard(ncct, cta, (TILE_MM * ncct.shape[0] / height, TILE_MM * ncct.shape[1] / width))
    else:
        low, high = LUNG_WINDOW_HU
        image = cta
    panel.imshow(image, cmap="gray", vmin=low, vmax=high, extent=(0, width, height, 0), interpolation="antialiased")
    if kind != "checkerboard" and lung.any():
        centres = [(np.arange(n) + 0.5) * mm / n for n, mm in zip(lung.shape[::-1], size_mm, strict=True)]
        panel.contour(*centres, lung, levels=[0.5], colors=OUTLINE, linewidths=0.8)
    panel.set_xticks([])
    panel.set_yticks([])


def extent_mm(shape: Sequence[int], spacing: Sequence[float], axis: int) -> tuple[float, float]:
    """Width and height of a plane in mm."""
    across, up = (other for other in range(3) if other != axis)
    return shape[across] * spacing[across], shape[up] * spacing[up]


def richest(mask: np.ndarray, axis: int) -> int:
    """Return the slice with most of a mask; the middle one if it is empty."""
    counts = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
    return int(counts.argmax()) if counts.any() else mask.shape[axis] // 2


def panel_grid(extents_mm: Sequence[tuple[float, float]], columns: int) -> tuple[Figure, list[list[Axes]]]:
    """Lay out rows of panels of equal width, each as high as its plane."""
    heights = [PANEL_INCHES * height / width for width, height in extents_mm]
    total_width = LABEL_INCHES + columns * (PANEL_INCHES + GAP_INCHES)
    total_height = HEAD_INCHES + FOOT_INCHES + sum(heights) + GAP_INCHES * len(heights)
    figure = Figure(figsize=(total_width, total_height))
    FigureCanvasAgg(figure)
    axes, top = [], total_height - HEAD_INCHES
    for height in heights:
        lefts = [LABEL_INCHES + column * (PANEL_INCHES + GAP_INCHES) for column in range(columns)]
        size = (PANEL_INCHES / total_width, height / total_height)
        axes.append([figure.add_axes((left / total_width, (top - height) / total_height, *size)) for left in lefts])
        top -= height + GAP_INCHES
    return figure, axes


def _add_words(figure: Figure, case: str) -> None:
    (low, high), (lung_low, lung_high) = REGISTRATION_WINDOW_HU, LUNG_WINDOW_HU
    caption = CAPTION.format(tile=TILE_MM, low=low, high=high, lung_low=lung_low, lung_high=lung_high)
    height = figure.get_figheight()
    figure.text(0.5, 1 - 0.08 / height, case, ha="center", va="top", fontsize=WORDS + 2)
    figure.text(0.5, 0.08 / height, caption, ha="center", va="bottom", fontsize=SMALL_WORDS)
