"""The results of quality control: ``qc.html`` with every case's picture, worst first, and ``qc.csv``."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..common.files import write_table, write_text
from .records import ACCEPTED, FLAGGED, Record


@dataclass(frozen=True)
class Report:
    """What the page and the table of a way of preparation show.

    Args:
        heading: of the page.
        lead: what the page says first, a sentence or two.
        again: how a flagged case is taken into the case list, beside ``--accept``.
        picture: what the pictures show, for those who can't see them.
        titles: title and number of digits of each score, in the order of the tables.
        worst: the score that orders cases of equally many flags, the lowest first.
    """

    heading: str
    lead: str
    again: str
    picture: str
    titles: Mapping[str, tuple[str, int]]
    worst: str


MISSING = "–"


def worst_first(records: Iterable[Record], report: Report) -> list[Record]:
    """Flagged cases first, most flags first, then by the report's worst score."""
    return sorted(records, key=lambda record: (-len(record.flags), record.score(report.worst), record.case))


def write_csv(records: Sequence[Record], report: Report, path: Path) -> None:
    """Write a row per case: its state, all scores, and what is wrong with it."""
    rows = []
    for record in worst_first(records, report):
        scores = {name: "" if math.isnan(score := record.score(name)) else f"{score:.6g}" for name in report.titles}
        flags = " | ".join(record.flags)
        rows.append({"case": record.case, "patient": record.patient, "state": record.state, **scores, "flags": flags})
    write_table(path, rows, ["case", "patient", "state", *report.titles, "flags"])


def write_html(
    records: Sequence[Record],
    failures: Mapping[str, str],
    pictures: Mapping[str, Path],
    report: Report,
    path: Path,
) -> None:
    """Write the page, which contains its pictures and opens from disk without a network.

    Args:
        records: of the finished cases.
        failures: why the other cases failed.
        pictures: the PNG file of each case.
        report: what it shows.
        path: of the page.
    """
    environment = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    ordered = worst_first(records, report)
    page = environment.get_template("qc.html").render(
        titles=[title for title, _ in report.titles.values()],
        report=report,
        cases=[_shown(record, report, pictures[record.case]) for record in ordered],
        failures=failures,
        flagged=sum(record.state == FLAGGED for record in ordered),
        accepted=sum(record.state == ACCEPTED for record in ordered),
    )
    write_text(page, path)


def _shown(record: Record, report: Report, picture: Path) -> dict[str, Any]:
    values = [record.score(name) for name in report.titles]
    digits = [digits for _, digits in report.titles.values()]
    cells = [MISSING if math.isnan(value) else f"{value:.{n}f}" for value, n in zip(values, digits, strict=True)]
    return {
        "name": record.case,
        "patient": record.patient,
        "state": record.state,
        "flags": record.flags,
        "cells": cells,
        "picture": base64.b64encode(picture.read_bytes()).decode(),
    }
