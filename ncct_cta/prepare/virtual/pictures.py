"""The picture that shows whether a virtual NCCT could be real: beside its CTA, and what was taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...common.hu import ANGIO_WINDOW_HU, MEDIASTINAL_WINDOW_HU
from ...common.panels import save_figure
from ..pairs.qc_pictures import OUTLINE, PLANES, SMALL_WORDS, WORDS, extent_mm, mark_sides, panel_grid, plane, richest

CAPTION = (
    "NCCT: HU {low} to {high}; nothing may show where the vessels' enhancement was but what a real NCCT shows too.\n"
    "CTA: HU {angio_low} to {angio_high}. Taken out: CTA minus NCCT, HU 0 to 400; bone must not show in it."
)
TAKEN_HU = (0, 400)


def draw_virtual(
    path: Path, case: str, ncct_hu: np.ndarray, cta_hu: np.ndarray, blood: np.ndarray, spacing: Sequence[float]
) -> None:
    """Draw a virtual pair in three planes and write it as PNG.

    Args:
        path: of the picture.
        case: for the title.
        ncct_hu: (X, Y, Z) RAS+, HU.
        cta_hu: likewise.
        blood: its mask; the slices with most of it are shown.
        spacing: voxel edges in mm.
    """
    (low, high), (angio_low, angio_high) = MEDIASTINAL_WINDOW_HU, ANGIO_WINDOW_HU
    columns = {
        "virtual NCCT": (ncct_hu, MEDIASTINAL_WINDOW_HU),
        "CTA": (cta_hu, ANGIO_WINDOW_HU),
        "taken out": (cta_hu.astype(np.int32) - ncct_hu, TAKEN_HU),
    }
    caption = CAPTION.format(low=low, high=high, angio_low=angio_low, angio_high=angio_high)
    draw_planes(path, case, columns, blood, spacing, caption)


def draw_planes(
    path: Path,
    title: str,
    columns: Mapping[str, tuple[np.ndarray, tuple[float, float]]],
    shown: np.ndarray,
    spacing: Sequence[float],
    caption: str,
) -> None:
    """Draw volumes side by side in three planes and write them as PNG.

    Args:
        path: of the picture.
        title: above it.
        columns: by their names, volumes (X, Y, Z) RAS+ in HU, and each one's window.
        shown: a mask; the slices with most of it are shown.
        spacing: voxel edges in mm.
        caption: below it.
    """
    extents = {axis: extent_mm(shown.shape, spacing, axis) for axis in PLANES}
    figure, axes = panel_grid(list(extents.values()), len(columns))
    for row, (axis, (name, left, top)) in zip(axes, PLANES.items(), strict=True):
        index = richest(shown, axis)
        width, height = extents[axis]
        for panel, (volume, (low, high)) in zip(row, columns.values(), strict=True):
            panel.imshow(plane(volume, axis, index), cmap="gray", vmin=low, vmax=high, extent=(0, width, height, 0))
            panel.set_xticks([])
            panel.set_yticks([])
            mark_sides(panel, left, top)
        # Within the picture: beside the flat ones of a thin slab there is no room for it.
        words = f"{name}, slice {index + 1} of {shown.shape[axis]}"
        row[-1].text(0.02, 0.02, words, color=OUTLINE, transform=row[-1].transAxes, fontsize=SMALL_WORDS)
    for panel, column in zip(axes[0], columns, strict=True):
        panel.set_title(column, fontsize=WORDS, pad=4)
    figure.text(0.5, 1 - 0.08 / figure.get_figheight(), title, ha="center", va="top", fontsize=WORDS + 2)
    figure.text(0.5, 0.08 / figure.get_figheight(), caption, ha="center", va="bottom", fontsize=SMALL_WORDS - 2)
    save_figure(figure, path)
