"""Pictures for human readers: panels of one slice in radiological orientation, with windows and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from .files import written_whole
from .hu import LUNG_UPPER_HU, LUNG_WINDOW_HU, MEDIASTINAL_WINDOW_HU

WINDOWS = {"mediastinal": MEDIASTINAL_WINDOW_HU, "lung": LUNG_WINDOW_HU}
ERROR_RANGE_HU = 300
# Sizes in inches, chosen so that the text is legible when a page shows the picture 900 pixels wide.
PANEL, GAP, LABEL, TITLE, FOOT, BAR = 3.0, 0.06, 0.55, 0.35, 0.62, 0.8
WORDS, SMALL_WORDS = 15, 13
CAPTION = (
    "Look for contrast in heart, aorta and lung vessels as in the CTA, and for all else as in the NCCT.\n"
    "Errors: blue is too dark, red too bright; in the NCCT's, blue is the contrast that has to be found."
)
DOTS_PER_INCH = 100
FEWEST_PIXELS = 256  # smaller images are drawn smoothly, as CT viewers do; larger ones are averaged down


def richest_slice(mask: np.ndarray) -> int:
    """Return the axial slice with most of a mask (X, Y, Z); the middle one if it is empty."""
    counts = np.count_nonzero(mask, axis=(0, 1))
    return int(counts.argmax()) if counts.any() else mask.shape[2] // 2


def axial(volume: np.ndarray, z: int) -> np.ndarray:
    """Slice ``z`` of an RAS+ volume (X, Y, Z) as a picture: the patient's right on the left, front on top."""
    # RAS+: X runs to the patient's right and Y to the front; pictures run to the viewer's right and down.
    return np.asarray(volume[::-1, ::-1, z]).T


def panel_figure(
    images_hu: Mapping[str, np.ndarray], cta_hu: np.ndarray, *, title: str, aspect: float = 1.0, caption: str = CAPTION
) -> Figure:
    """Draw images of one slice side by side in the mediastinal and the lung window, and their errors against the CTA.

    The empty margins around the patient are cut off.

    Args:
        images_hu: the images by their names, each (rows, columns) in HU as returned by ``axial``; the NCCT first, the
            prediction last. The errors of these two are drawn.
        cta_hu: the real CTA of the same slice.
        title: what the picture shows, above it.
        aspect: height of a pixel over its width.
        caption: what to look for, below it.

    Returns:
        a new figure, independent of matplotlib's global state.
    """
    columns = {**images_hu, "CTA": cta_hu}
    box = _patient_box(list(columns.values()))
    columns = {name: np.asarray(image, np.float32)[box] for name, image in columns.items()}
    first, *_, last = images_hu
    height, width = columns["CTA"].shape
    figure, axes = _grid(len(columns) + 1, PANEL * aspect * height / width)
    for row, (name, (low, high)), shown in zip(axes, WINDOWS.items(), (last, first), strict=True):
        for axis, (column, image) in zip(row, columns.items(), strict=False):
            _draw(axis, column, image, aspect, cmap="gray", vmin=low, vmax=high)
        row[0].set_ylabel(f"{name} window\n{low} to {high} HU", fontsize=SMALL_WORDS)
        error = _draw(
            row[-1], f"{shown} - CTA", columns[shown] - columns["CTA"], aspect,
            cmap="RdBu_r", vmin=-ERROR_RANGE_HU, vmax=ERROR_RANGE_HU,
        )  # fmt: skip
        _outline(row[-1], columns[first])
    _add_words(figure, error, title, caption)
    return figure


def _grid(columns: int, panel_height: float) -> tuple[Figure, np.ndarray]:
    """A figure without dead space: a row of panels for every window, their names above, words and a bar around."""
    rows = len(WINDOWS)
    width = LABEL + columns * (PANEL + GAP) + BAR
    height = TITLE + rows * (TITLE + panel_height) + FOOT
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = np.empty((rows, columns), object)
    for row, column in np.ndindex(axes.shape):
        left = LABEL + column * (PANEL + GAP)
        bottom = FOOT + (rows - 1 - row) * (TITLE + panel_height)
        axes[row, column] = figure.add_axes((left / width, bottom / height, PANEL / width, panel_height / height))
    return figure, axes


def _bar_axis(figure: Figure) -> Axes:
    width, height = figure.get_size_inches()
    bottom, top = 1.5 * FOOT, height - 2 * TITLE - 0.5 * FOOT
    return figure.add_axes(((width - BAR + GAP) / width, bottom / height, 0.14 / width, (top - bottom) / height))


def _draw(axis: Axes, name: str, image: np.ndarray, aspect: float, **colours: Any) -> AxesImage:
    smooth = "bilinear" if max(image.shape) < FEWEST_PIXELS else "antialiased"
    drawn = axis.imshow(image, aspect=aspect, interpolation=smooth, **colours)
    axis.set_title(name, fontsize=WORDS, pad=4, parse_math=False)  # the name of a method or a case isn't a formula
    axis.set_xticks([])
    axis.set_yticks([])
    white = colours["cmap"] != "gray"
    axis.text(0.02, 0.96, "R", color="black" if white else "yellow", transform=axis.transAxes, va="top", fontsize=WORDS)
    return drawn


def _add_words(figure: Figure, error: AxesImage, title: str, caption: str) -> None:
    bar = figure.colorbar(error, cax=_bar_axis(figure), extend="both")
    bar.ax.set_title("HU", fontsize=SMALL_WORDS)
    bar.ax.tick_params(labelsize=SMALL_WORDS - 2)
    figure.text(0.5, 1 - 0.1 / figure.get_figheight(), title, ha="center", va="top", fontsize=WORDS, parse_math=False)
    figure.text(0.5, 0.1 / figure.get_figheight(), caption, ha="center", va="bottom", fontsize=SMALL_WORDS)


def _outline(axis: Axes, ncct_hu: np.ndarray) -> None:
    """Draw the outlines of body and lungs, so that an error can be located."""
    if min(ncct_hu.shape) > 1 and ncct_hu.min() < LUNG_UPPER_HU < ncct_hu.max():
        axis.contour(ncct_hu, levels=[LUNG_UPPER_HU], colors="0.4", linewidths=0.7, linestyles="solid")


def _patient_box(images_hu: Sequence[np.ndarray]) -> tuple[slice, slice]:
    """The rows and columns that hold tissue in the first image, with a margin; all where there is none."""
    tissue = np.asarray(images_hu[0]) > LUNG_UPPER_HU
    margin = 2 + max(tissue.shape) // 50
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero(tissue.any(axis=axis))
        spans.append(slice(max(0, found[0] - margin), found[-1] + 1 + margin) if found.size else slice(None))
    return spans[0], spans[1]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG atomically."""
    with written_whole(path, ".png") as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)
