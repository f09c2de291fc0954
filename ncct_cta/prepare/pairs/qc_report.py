"""The results of quality control: ``qc.html`` with every case's picture, worst first, and ``qc.csv``."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...common.files import write_table, write_text
from .quality import (
    AFTER,
    BLOOD_CTA,
    BLOOD_NCCT,
    COVERED,
    FOLDED,
    LUNG_DICE,
    MUTUAL_INFORMATION,
    STAGES,
    STRETCH,
    SURFACE_MEAN,
    SURFACE_P95,
    VESSEL_ML,
)
from .records import ACCEPTED, FLAGGED, Record

# Title and number of digits of each score, in the order of the tables.
TITLES: Mapping[str, tuple[str, int]] = {
    **{f"{LUNG_DICE}_{stage}": (f"lung Dice {stage}", 3) for stage in STAGES},
    **{f"{SURFACE_MEAN}_{stage}": (f"lung surface, mean {stage} [mm]", 1) for stage in STAGES},
    **{f"{SURFACE_P95}_{stage}": (f"lung surface, 95 % {stage} [mm]", 1) for stage in STAGES},
    **{f"{MUTUAL_INFORMATION}_{stage}": (f"mutual information {stage} [nats]", 2) for stage in STAGES},
    FOLDED: ("folded share of the body", 4),
    STRETCH: ("stretch (SD of the log Jacobian)", 3),
    COVERED: ("share of the NCCT's body covered", 2),
    BLOOD_NCCT: ("blood, NCCT [HU]", 0),
    BLOOD_CTA: ("blood, CTA [HU]", 0),
    VESSEL_ML: ("vessels [ml]", 0),
}
MISSING = "–"


def worst_first(records: Iterable[Record]) -> list[Record]:
    """Sort key: flagged cases first, most flags first, then by increasing overlap of the lungs."""
    return sorted(records, key=lambda record: (-len(record.flags), record.score(f"{LUNG_DICE}_{AFTER}"), record.case))


def write_csv(records: Sequence[Record], path: Path) -> None:
    """Write a row per case: its state, all scores, and what is wrong with it."""
    rows = []
    for record in worst_first(records):
        scores = {name: "" if math.isnan(score := record.score(name)) else f"{score:.6g}" for name in TITLES}
        flags = " | ".join(record.flags)
        rows.append({"case": record.case, "patient": record.patient, "state": record.state, **scores, "flags": flags})
    write_table(path, rows, ["case", "patient", "state", *TITLES, "flags"])


def write_html(
    records: Sequence[Record], failures: Mapping[str, str], pictures: Mapping[str, Path], path: Path
) -> None:
    """Write the page, which contains its pictures and opens from disk without a network.

    Args:
        records: of the finished cases.
        failures: why the other cases failed.
        pictures: the PNG file of each case.
        path: of the page.
    """
    environment = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    ordered = worst_first(records)
    page = environment.get_template("qc.html").render(
        titles=[title for title, _ in TITLES.values()],
        cases=[_shown(record, pictures[record.case]) for record in ordered],
        failures=failures,
        flagged=sum(record.state == FLAGGED for record in ordered),
        accepted=sum(record.state == ACCEPTED for record in ordered),
    )
    write_text(page, path)


def _shown(record: Record, picture: Path) -> dict[str, Any]:
    values = [record.score(name) for name in TITLES]
    digits = [digits for _, digits in TITLES.values()]
    cells = [MISSING if math.isnan(value) else f"{value:.{n}f}" for value, n in zip(values, digits, strict=True)]
    return {
        "name": record.case,
        "patient": record.patient,
        "state": record.state,
        "flags": record.flags,
        "cells": cells,
        "picture": base64.b64encode(picture.read_bytes()).decode(),
    }
