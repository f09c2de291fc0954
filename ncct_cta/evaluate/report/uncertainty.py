"""The report's part on uncertainty: a map beside the error that it should tell, and how well it does over all cases."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...common.hu import MEDIASTINAL_WINDOW_HU
from ...common.keys import LUNG, VESSEL
from ...common.panels import ERROR_RANGE_HU, axial, richest_slice
from ..results import Evaluation, Method
from ..uncertainty.findings import REGIONS, SHARES, CaseUncertainty, MethodUncertainty, in_words
from ..uncertainty.judged_case import JudgedCase, read_judged_case
from . import plots
from .tables import shown_name

SHOWN_QUANTILE = 0.999  # of the map: brighter voxels are shown as this
JPEG = {"quality": 85}
MOST_ROWS = 24  # of the table of cases


def shown_uncertainty(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """What the page shows of each method with maps; its picture is of the first case."""
    methods = {method.name: method for method in evaluation.methods}
    for found in evaluation.uncertainty:
        shown: dict[str, Any] = {
            "name": shown_name(found.method),
            "words": in_words(found).replace(" %", "\N{NO-BREAK SPACE}%"),
        }
        shown |= {
            "titles": list(REGIONS.values()),
            "coverage": _coverage(found),
            "case": "",
            "picture": "",
            "curves": "",
        }
        if found.cases:
            first = found.cases[0]
            read = _read(evaluation, methods[found.method], first)
            shown |= {"case": first.case, "picture": _picture(read), "curves": _curves(found)}
        yield shown


def _read(evaluation: Evaluation, method: Method, found: CaseUncertainty) -> JudgedCase:
    case = next(case for case in evaluation.cases if case.name == found.case)
    return read_judged_case(case, method, found.spread)


def _coverage(found: MethodUncertainty) -> list[dict[str, Any]]:
    """A row for each case, and their mean; empty without an interval."""
    if found.interval is None or not found.cases:
        return []

    def row(name: str, coverage: list[float], width: list[float]) -> dict[str, Any]:
        cells = [
            cell
            for held, wide in zip(coverage, width, strict=True)
            for cell in (_figure(100 * held, 1), _figure(wide, 0))
        ]
        return {"name": name, "cells": cells}

    rows = [
        row(case.case, [case.coverage[region] for region in REGIONS], [case.width[region] for region in REGIONS])
        for case in found.cases[:MOST_ROWS]
    ]
    mean = row("mean", [found.coverage(region) for region in REGIONS], [found.width(region) for region in REGIONS])
    return [mean, *rows]


def _figure(value: float, decimals: int) -> str:
    return "n/a" if math.isnan(value) else f"{value:.{decimals}f}"


def _picture(case: JudgedCase) -> str:
    """Prediction, absolute error and map of the slice with most of the lungs' vessels, as a JPEG's data URI."""
    masks = case.images.masks
    z = richest_slice(masks[VESSEL] & masks[LUNG] if (masks[VESSEL] & masks[LUNG]).any() else masks[VESSEL])
    prediction, cta, spread = (axial(image, z) for image in (case.prediction, case.images.cta, case.spread))
    error = np.abs(prediction.astype(np.float32) - cta)
    spacing = case.images.spacing
    aspect = spacing[1] / spacing[0]
    brightest = max(1.0, float(np.quantile(case.spread, SHOWN_QUANTILE)))
    figure = Figure(figsize=(13, 0.9 + 3.9 * aspect * error.shape[0] / error.shape[1]), layout="constrained")
    low, high = MEDIASTINAL_WINDOW_HU
    panels = (
        ("prediction", prediction, "gray", low, high),
        ("absolute error", error, "magma", 0, ERROR_RANGE_HU),
        ("map of uncertainty (SD)", spread, "magma", 0, brightest),
    )
    for axis, (title, image, colours, least, most) in zip(figure.subplots(1, 3), panels, strict=True):
        drawn = axis.imshow(image, cmap=colours, vmin=least, vmax=most, aspect=aspect, interpolation="nearest")
        axis.set_title(title)
        axis.set_axis_off()
        figure.colorbar(drawn, ax=axis, shrink=0.8, label="HU")
    figure.suptitle(
        f"{case.name}, axial slice {z + 1} of {case.prediction.shape[2]} of those that hold the body", parse_math=False
    )
    FigureCanvasAgg(figure)
    image_file = io.BytesIO()
    figure.savefig(image_file, format="jpeg", dpi=75, pil_kwargs=JPEG)
    return plots.data_uri("image/jpeg", image_file.getvalue())


@rc_context(plots.SVG_STYLE)
def _curves(found: MethodUncertainty) -> str:
    """Reliability and sparsification, a line for each case, as an SVG's data URI."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _reliability(left, found)
    for number, case in enumerate(found.cases):
        named = {"label": "the map"} if number == 0 else {}
        right.plot(np.multiply(100, SHARES), case.left, color="#2b6cb0", linewidth=1.2, alpha=0.7, **named)
        named = {"label": "knowing the errors"} if number == 0 else {}
        right.plot(np.multiply(100, SHARES), case.oracle, "--", color="0.5", linewidth=1, **named)
    right.set_xlabel("voxels taken away, the least certain first [%]")
    right.set_ylabel("MAE of what is left [HU]")
    right.legend(frameon=False, fontsize=8)
    right.set_ylim(bottom=0)
    for axis in (left, right):
        plots.plain(axis)
    return plots.svg(figure)


def _reliability(axis: Axes, found: MethodUncertainty) -> None:
    for case in found.cases:
        axis.plot(*case.reliability, "o-", color="#2b6cb0", markersize=3, linewidth=0.8, alpha=0.7)
    most = max(float(values.max()) for case in found.cases for values in case.reliability)
    axis.plot([0, most], [0, most], "--", color="0.4", linewidth=1)
    axis.set_xlabel("mean SD of a tenth of the voxels [HU]")
    axis.set_ylabel("root mean square error [HU]")
