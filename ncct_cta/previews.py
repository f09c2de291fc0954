"""Pictures for people: panels of one slice in radiological orientation, with windows and units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .hu import LUNG_WINDOW_HU, MEDIASTINAL_WINDOW_HU

WINDOWS = {"mediastinal": MEDIASTINAL_WINDOW_HU, "lung": LUNG_WINDOW_HU}
ERROR_RANGE_HU = 300


def richest_slice(mask: np.ndarray) -> int:
    """The axial slice that holds most of a mask (X, Y, Z); the middle one if it is empty."""
    counts = np.count_nonzero(mask, axis=(0, 1))
    return int(counts.argmax()) if counts.any() else mask.shape[2] // 2


def axial(volume: np.ndarray, z: int) -> np.ndarray:
    """Slice ``z`` of an RAS+ volume (X, Y, Z) as a picture: the patient's right on the left, front on top."""
    # RAS+: X runs to the patient's right and Y to the front, pictures run to the viewer's right and down.
    return np.asarray(volume[::-1, ::-1, z]).T


def panel_figure(images_hu: Mapping[str, np.ndarray], cta_hu: np.ndarray, *, title: str, aspect: float = 1.0) -> Figure:
    """Draw images of one slice side by side in the mediastinal and the lung window, and their error to the CTA.

    Args:
        images_hu: the images by caption, each (rows, columns) in HU as ``axial`` gives them; ``Prediction`` last.
        cta_hu: the real CTA of the same slice.
        title: what the picture shows, above it.
        aspect: height of a pixel over its width.

    Returns:
        a figure of its own, without any global state of matplotlib.
    """
    columns = {**images_hu, "CTA": cta_hu}
    figure = Figure(figsize=(3.0 * (len(columns) + 1), 3.0 * aspect * len(WINDOWS) + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(WINDOWS), len(columns) + 1, squeeze=False)
    error = np.asarray(list(images_hu.values())[-1], np.float32) - cta_hu
    for row, (name, (low, high)) in zip(axes, WINDOWS.items(), strict=True):
        for axis, (caption, image) in zip(row, columns.items(), strict=False):
            axis.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=aspect)
            axis.set_title(caption)
        row[0].set_ylabel(f"{name} window\n{low} to {high} HU")
    for axis, (row_title, image) in zip(axes[:, -1], _error_images(error, images_hu, cta_hu).items(), strict=True):
        drawn = axis.imshow(image, cmap="RdBu_r", vmin=-ERROR_RANGE_HU, vmax=ERROR_RANGE_HU, aspect=aspect)
        axis.set_title(row_title)
        figure.colorbar(drawn, ax=axis, label="HU", fraction=0.046)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.text(0.02, 0.5, "R", color="yellow", transform=axis.transAxes, va="center")
    figure.suptitle(title)
    return figure


def _error_images(error: np.ndarray, images_hu: Mapping[str, np.ndarray], cta_hu: np.ndarray) -> dict[str, np.ndarray]:
    captions = list(images_hu)
    return {
        f"{captions[-1]} - CTA": error,
        f"{captions[0]} - CTA": np.asarray(images_hu[captions[0]], np.float32) - cta_hu,
    }


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, beside and renamed."""
    beside = path.with_name(f".{path.name}.tmp")
    figure.savefig(beside, format="png", dpi=80)
    beside.replace(path)
