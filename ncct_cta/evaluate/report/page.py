"""One HTML file that shows an evaluation: tables, plots, a viewer of the volumes, and the training's curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ...common.files import write_text
from ...common.hu import AIR_HU, ANGIO_WINDOW_HU, BONE_WINDOW_HU, LUNG_UPPER_HU, LUNG_WINDOW_HU, MEDIASTINAL_WINDOW_HU
from ...common.limits import UNSEEN
from ...common.panels import ERROR_RANGE_HU
from ...metrics import PRIMARY
from ...metrics.hallucination import TOLERANCE_MM
from ...runs.names import CONFIG
from ...runs.record import read_record
from ...settings import Settings
from ..results import IDENTITY, Evaluation
from . import plots
from .packed_volumes import MARGIN_MM, PackedCase
from .shown_cases import ShownCase, show_cases
from .tables import first_trained, heading, shown_name, table
from .uncertainty import shown_uncertainty

LIMIT_BYTES = 36_000_000
ASSETS = "assets"
WINDOWS = {
    "mediastinum": MEDIASTINAL_WINDOW_HU,
    "lung": LUNG_WINDOW_HU,
    "bone": BONE_WINDOW_HU,
    "angio": ANGIO_WINDOW_HU,
}
ERROR_COLOURS = "RdBu_r"  # as in the previews
OUTLINE = 0xFF666666  # opaque grey
GRADIENT_STOPS = 11
LAYER_COLOURS = {"found": (40, 200, 90), "missed": (70, 140, 255), "invented": (255, 60, 50)}  # in the codes' order
SHOWN_METHODS = 3  # methods shown next to NCCT and CTA when the page opens; with more, the pictures would be too small
# Bytes that JSON and markup add to the volumes' text.
MARKUP_BYTES = 60_000


def write_report(evaluation: Evaluation, path: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
    """Write one file that opens from disk in a browser, without a network.

    Args:
        evaluation: the result; every method has a prediction of every case.
        path: of the HTML file; its folder exists. The file is written completely or not at all.
        limit_bytes: upper limit of the file's size, kept by coarser voxels in the viewer; the page states their size.

    Raises:
        InputError: if a file can't be read or written.
        ValueError: if a case has no CTA, or the limit leaves no room for the viewer.
    """
    page = _scores(evaluation) | _plots(evaluation) | _words(evaluation)
    bare = render(page | _images(evaluation, []))
    shown = list(show_cases(evaluation, limit_bytes - len(bare.encode()) - MARKUP_BYTES))
    write_text(render(page | _images(evaluation, shown)), path)


def render(page: Mapping[str, Any], template: str = "report.html") -> str:
    """Render the page; whatever isn't marked as safe is escaped."""
    environment = Environment(
        loader=PackageLoader(__package__, ASSETS), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(page)


def _words(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "version": metadata.version("ncct-cta"),
        "date": date.today().isoformat(),
        "n_cases": len(evaluation.cases),
        "n_virtual": sum(case.virtual for case in evaluation.cases),
        "methods": [shown_name(method.name) for method in evaluation.methods],
        "first": shown_name(first_trained(evaluation.methods).name),
        "remarks": evaluation.remarks,
        "unseen": UNSEEN,
        **viewer_words(),
    }


def viewer_words() -> dict[str, Any]:
    """What stands around the viewer, wherever it is shown."""
    return {
        "margin": f"{MARGIN_MM:g}",
        "error_range": ERROR_RANGE_HU,
        "gradient": _error_colours_css(),
        "found": {name: f"rgb({red} {green} {blue})" for name, (red, green, blue) in LAYER_COLOURS.items()},
        "tolerance": f"{TOLERANCE_MM:g}",
        "windows": [
            {"name": name, "shown": f"{low} to {high} HU".replace("-", "−")} for name, (low, high) in WINDOWS.items()
        ],
        "css": _asset("report.css"),
        "scripts": [_asset("volumes.js"), _asset("viewer.js")],
    }


def _scores(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "headlines": evaluation.headlines,
        "summary": table(evaluation, evaluation.headlines),
        "all_columns": evaluation.columns,
        "all_rows": table(evaluation, evaluation.columns),
        "heading": heading,
        "primary": PRIMARY,
    }


def _plots(evaluation: Evaluation) -> dict[str, Any]:
    known = [
        column
        for column in evaluation.headlines
        if any(statistics[column.name].cases for statistics in evaluation.summary.values())
    ]
    return {
        "distributions": [
            {"uri": plots.distribution(evaluation, column), "alt": f"{column.title} of every case and method"}
            for column in known
        ],
        "curves": list(_curves(evaluation)),
        "uncertainty": list(shown_uncertainty(evaluation)),
    }


def _curves(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Return the curves of those methods that are runs whose log still exists."""
    for method in evaluation.methods:
        curves = plots.read_curves(method.run) if method.run is not None else {}
        if method.run is None or not curves:
            continue
        mode = _adversarial_loss(method.run)
        name = shown_name(method.name)
        health = plots.health(curves, mode)
        yield {
            "name": name,
            "uri": plots.training_curves(curves, mode),
            "alt": f"losses and validation errors of {name} over the epochs{', and D scores' if health else ''}",
            "health": health,
            "fixed_points": mode == plots.LEAST_SQUARES,
        }


def _adversarial_loss(run: Path) -> str:
    """The run's ``discriminator.mode``; least squares if its settings no longer exist."""
    if not (run / CONFIG).is_file():
        return plots.LEAST_SQUARES
    return Settings.parse(read_record(run)).discriminator.mode


def _images(evaluation: Evaluation, shown: Sequence[ShownCase]) -> dict[str, Any]:
    names = [shown_name(method.name) for method in evaluation.methods if method.name != IDENTITY]
    trained = [number for number, method in enumerate(evaluation.methods) if not method.is_baseline]
    few = len(names) <= SHOWN_METHODS
    viewed = [(found, found.packed) for found in shown if found.packed is not None]
    return {
        "choices": [
            {"number": number, "name": name, "checked": few or number in trained[:SHOWN_METHODS]}
            for number, name in enumerate(names, start=1)
        ],
        "viewed": viewed,
        "pictures": sorted(shown, key=lambda found: found.ranked.rank),
        "packed": [entry for number, (_, packed) in enumerate(viewed) for entry in texts(number, packed)],
        "labels": [found.ranked.label for found, _ in viewed],
        "scored": True,
        "data": viewer_data(
            ["NCCT", *names, "CTA"],
            [case_data(number, found.first_slice, packed) for number, (found, packed) in enumerate(viewed)],
        ),
    }


def viewer_data(names: Sequence[str], cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the viewer's script reads: the names of the images, the last of which the errors are of, and the cases."""
    return {
        "names": list(names),
        "windows": [{"name": name, "low": low, "high": high} for name, (low, high) in WINDOWS.items()],
        "air": AIR_HU,
        "surface": LUNG_UPPER_HU,
        "line": OUTLINE,
        "layerColours": list(LAYER_COLOURS.values()),  # JSON sorts a mapping by its names
        "errorRange": ERROR_RANGE_HU,
        "errorColours": _error_colours(256).view("<u4").ravel().tolist(),
        "errors": len(names) > 1,
        "cases": list(cases),
    }


def case_data(number: int, first_slice: int, packed: PackedCase) -> dict[str, Any]:
    """What the viewer's script reads of a case: its grid, where it opens, and the ids of its volumes."""
    size = " x ".join(f"{edge:.2g}" for edge in packed.spacing)
    return {
        "shape": packed.shape,
        "spacing": packed.spacing,
        "step": packed.step_hu,
        "slice": first_slice,
        "words": f"Shown here: voxels of {size} mm, HU in steps of {packed.step_hu}.",
        "volumes": [
            {"id": _id(number, at), "difference": volume.difference} for at, volume in enumerate(packed.volumes)
        ],
        "region": _id(number, len(packed.volumes)),
        "layers": [_id(number, len(packed.volumes) + 1 + at) for at in range(len(packed.layers))],
    }


def texts(number: int, packed: PackedCase) -> Iterator[tuple[str, Markup]]:
    """Ids and texts of a case's volumes, its MIP's region and its layers; base64 needs no escaping."""
    for at, text in enumerate([*(volume.text for volume in packed.volumes), packed.region, *packed.layers]):
        yield _id(number, at), Markup(text)


def _id(number: int, at: int) -> str:
    return f"volume-{number}-{at}"


def _error_colours(count: int) -> np.ndarray:
    """(count, 4) uint8 RGBA from too dark to too bright."""
    return np.ascontiguousarray(matplotlib.colormaps[ERROR_COLOURS](np.linspace(0, 1, count), bytes=True))


def _error_colours_css() -> list[str]:
    return [f"rgb({red} {green} {blue})" for red, green, blue, _ in _error_colours(GRADIENT_STOPS).tolist()]


def _asset(name: str) -> Markup:
    return Markup((resources.files(__package__) / ASSETS / name).read_text(encoding="utf-8"))
