"""The report's still pictures: the scores of every case, the training's curves, and a strip for every case."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...common import keys
from ...common.names import shortened
from ...common.panels import panel_figure
from ...handlers.discriminator_health import BLIND_VALUE, LEAK_VALUE, REMEDIES, SETTLING, diagnose
from ...metrics import Column
from ...runs.names import METRICS
from ..results import Evaluation
from .tables import shown_name

COUNTS = {"epoch", "iteration"}  # what every row of a training's log is numbered by
LEAST_SQUARES = "least_squares"
SVG_STYLE: dict[Any, Any] = {  # matplotlib types the keys one by one
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,  # a method's name isn't a formula
}
STRIP_DOTS_PER_INCH, STRIP_JPEG = 75, {"quality": 80}
NAME_WIDTH = 28
LAST_ROWS = 3  # last epochs of a training, from which D's state is judged
MARKED = "0.75"  # grey of the lines that join a case's dots
VALIDATION_ERRORS = {
    "vessels": (keys.VAL_VESSEL_MAE_HU, keys.IDENTITY_VESSEL_MAE_HU),
    "lung": (keys.VAL_LUNG_MAE_HU, keys.IDENTITY_LUNG_MAE_HU),
    "body": (keys.VAL_MAE_HU, keys.IDENTITY_MAE_HU),
}


@rc_context(SVG_STYLE)
def distribution(evaluation: Evaluation, column: Column) -> str:
    """Plot one score of every case and method, with a line for each case, as the data URI of an SVG."""
    names = [method.name for method in evaluation.methods]
    scores = {(row["case"], row["method"]): float(row.get(column.name, math.nan)) for row in evaluation.rows}
    values = _finite([[scores[case.name, name] for name in names] for case in evaluation.cases])
    figure = Figure(figsize=(4.4, 0.75 + 0.3 * len(names)), layout="constrained")
    axis = figure.add_subplot()
    rows = np.arange(len(names))
    for case in values:
        axis.plot(case, rows, color=MARKED, linewidth=0.8, zorder=1)
    axis.plot(values, np.broadcast_to(rows, values.shape), "o", color="#2b6cb0", markersize=4.5, alpha=0.75, zorder=2)
    means = _finite([evaluation.summary[name][column.name].mean for name in names])
    axis.plot(means, rows, "|", color="black", markersize=15, markeredgewidth=2, zorder=3)
    axis.axvline(means[0], color="0.4", linestyle="--", linewidth=1, zorder=0)  # the identity: doing nothing
    axis.set_yticks(rows, [shortened(shown_name(name), NAME_WIDTH) for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)  # the first method on top, with room for its dots
    axis.locator_params(axis="x", nbins=5)
    unit = f" [{column.metric.unit}]" if column.metric.unit else ""
    axis.set_xlabel(f"{column.title}{unit} ({column.metric.direction.words})", wrap=True)
    plain(axis)
    return svg(figure)


def read_curves(run: Path) -> dict[str, np.ndarray]:
    """The columns of a run's ``metrics.csv`` that hold figures, NaN where there is none.

    Returns:
        by the column's name; empty without the file, or where it isn't a training's.
    """
    path = run / METRICS
    if not path.is_file():
        return {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restkey="")
            rows, names = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    columns = {name: np.array([_number(row[name]) for row in rows]) for name in names if name}
    found = {name: values for name, values in columns.items() if not np.isnan(values).all()}
    return found if found.keys() >= COUNTS else {}


@rc_context(SVG_STYLE)
def training_curves(curves: Mapping[str, np.ndarray], mode: str = LEAST_SQUARES) -> str:
    """Losses, validation errors beside the identity's, and D's scores if there is a D, as an SVG's data URI.

    Args:
        curves: the result of ``read_curves``, with an ``epoch`` column.
        mode: the adversarial loss; the value at which a blind D settles is only known for least squares.
    """
    adversarial = keys.D_REAL in curves and keys.D_FAKE in curves
    figure = Figure(figsize=(13 if adversarial else 8.7, 3.4), layout="constrained")
    loss, error, *rest = figure.subplots(1, 3 if adversarial else 2)
    epochs = curves["epoch"]
    _lines(loss, epochs, {name: curves.get(name) for name in (keys.LOSS, keys.VAL_LOSS)})
    loss.set_ylabel("loss (training's terms and weights)")
    for (region, names), colour in zip(VALIDATION_ERRORS.items(), ("C3", "C0", "C7"), strict=True):
        for name, style, label in zip(names, ("o-", "--"), (region, f"{region}, identity"), strict=True):
            _lines(error, epochs, {label: curves.get(name)}, style, colour)
    error.set_ylabel("validation MAE [HU]")
    for axis in rest:
        _discriminator(axis, curves, mode)
    for axis in (loss, error, *rest):
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis.lines:
            axis.legend(fontsize=7.5, frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        else:
            axis.text(0.5, 0.5, "no validation", transform=axis.transAxes, ha="center", color="0.4")
        plain(axis)
    return svg(figure)


def health(curves: Mapping[str, np.ndarray], mode: str = LEAST_SQUARES) -> str:
    """Summarise D's last scores in a sentence; empty without D.

    Args:
        curves: what ``read_curves`` gives.
        mode: the adversarial loss.
    """
    if keys.D_REAL not in curves or keys.D_FAKE not in curves:
        return ""
    known = ~np.isnan(curves[keys.D_REAL] + curves[keys.D_FAKE] + curves["iteration"])
    if not known.any():
        return ""
    before = np.nan_to_num(curves["iteration"][: int(np.argmax(known))])
    steps = curves["iteration"][known] - (before[-1] if before.size else 0)
    if steps[-1] <= SETTLING:
        return f"The discriminator took part in {steps[-1]:.0f} steps: too few to judge it, since it starts blind."
    settled = np.flatnonzero(steps > SETTLING)[-LAST_ROWS:]
    real, fake = (torch.from_numpy(curves[name][known][settled]) for name in (keys.D_REAL, keys.D_FAKE))
    state = diagnose(real, fake, mode)
    words = REMEDIES[state] if state else "the discriminator tells real from synthetic CTAs, and can still be fooled"
    epochs = f"the last {len(settled)} epochs" if len(settled) > 1 else "the last epoch"
    return f"{words[0].upper()}{words[1:]}. D_real {real.mean():.3f}, D_fake {fake.mean():.3f}, means of {epochs}."


def strip(ncct: np.ndarray, prediction: np.ndarray, cta: np.ndarray, *, title: str, name: str, aspect: float) -> str:
    """A case's picture as a JPEG's data URI.

    Args:
        ncct: one slice in HU as returned by ``previews.axial``.
        prediction: of the same slice.
        cta: the truth.
        title: above the picture.
        name: name of the prediction.
        aspect: height of a pixel over its width.
    """
    figure = panel_figure({"NCCT": ncct, name: prediction}, cta, title=title, aspect=aspect)
    image = io.BytesIO()
    figure.savefig(image, format="jpeg", dpi=STRIP_DOTS_PER_INCH, pil_kwargs=STRIP_JPEG)
    return data_uri("image/jpeg", image.getvalue())


def _discriminator(axis: Axes, curves: Mapping[str, np.ndarray], mode: str) -> None:
    _lines(axis, curves["epoch"], {name: curves[name] for name in (keys.D_REAL, keys.D_FAKE)})
    axis.set_ylabel("mean score of D")
    if mode == LEAST_SQUARES:
        axis.set_ylabel("mean score of D (1 real, 0 synthetic)")
        for value, words in ((BLIND_VALUE, "1/2: blind"), (LEAK_VALUE, "3/4: gradient leak")):
            axis.axhline(value, color="0.4", linestyle=":", linewidth=1)
            axis.annotate(words, (0.01, value), xycoords=("axes fraction", "data"), va="bottom", fontsize=7.5)
        axis.set_ylim(0, 1)


def _lines(
    axis: Axes, epochs: np.ndarray, lines: Mapping[str, np.ndarray | None], style: str = "o-", colour: str | None = None
) -> None:
    for name, values in lines.items():
        if values is not None:
            known = ~np.isnan(values)
            axis.plot(epochs[known], values[known], style, label=name, color=colour, markersize=2.5, linewidth=1.2)


def plain(axis: Axes) -> None:
    """Two spines and a faint grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="0.92")
    axis.set_axisbelow(True)


def _finite(values: Sequence[object]) -> np.ndarray:
    """Drop the infinite PSNR of equal images, which no axis can show."""
    array = np.array(values, float)
    return np.where(np.isfinite(array), array, np.nan)


def _number(text: str | None) -> float:
    try:
        number = float(text or "nan")
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def svg(figure: Figure) -> str:
    """A figure as an SVG's data URI; drawn under ``SVG_STYLE``."""
    FigureCanvasAgg(figure)
    image = io.BytesIO()
    figure.savefig(image, format="svg", metadata={"Date": None})
    return data_uri("image/svg+xml", image.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Bytes as what an ``img`` shows without fetching anything."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
