"""An evaluation as files (scores.csv, summary.csv, summary.json) and as a table for the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ..common.files import to_json, write_table, write_text
from ..common.names import shortened
from ..metrics import NONVESSEL, PRIMARY, Column
from ..metrics.ranges import range_title
from .results import IDENTITY, SHOWN_NAMES, Evaluation, Statistic

WIDTH = 100  # of a terminal
SCORES, SUMMARY, SUMMARY_JSON = "scores.csv", "summary.csv", "summary.json"
NAME_WIDTH = 16
VESSEL_ERROR = "vessel_mae_hu"


def write_tables(evaluation: Evaluation, folder: Path) -> None:
    """Write ``scores.csv`` (a row for each case and method), ``summary.csv`` and ``summary.json``.

    With virtual cases among them, a column of ``scores.csv`` says which they are.

    Numbers are written in full precision. Missing values are empty in CSV and null in JSON; the infinite PSNR of equal
    images is ``inf`` in CSV and null in JSON.

    Raises:
        InputError: if a file can't be written.
    """
    virtual = {case.name for case in evaluation.cases if case.virtual}
    names = ["case", *(["virtual"] if virtual else []), "method", *(column.name for column in evaluation.columns)]
    rows = (
        {**row, "virtual": "yes" if row["case"] in virtual else "no"} if virtual else row for row in evaluation.rows
    )
    write_table(folder / SCORES, map(_csv_row, rows), names)
    lines = (
        _csv_row({"method": method, "column": name, **asdict(statistic)})
        for method, statistics in evaluation.summary.items()
        for name, statistic in statistics.items()
    )
    write_table(folder / SUMMARY, lines, ["method", "column", *(field.name for field in fields(Statistic))])
    write_text(to_json(summary_of(evaluation)), folder / SUMMARY_JSON)


def summary_of(evaluation: Evaluation) -> dict[str, Any]:
    """Return the statistics of every method and score, the cases and the remarks as plain data."""
    return {
        "cases": [case.name for case in evaluation.cases],
        "virtual_cases": [case.name for case in evaluation.cases if case.virtual],
        "methods": {
            method: {name: asdict(statistic) for name, statistic in statistics.items()}
            for method, statistics in evaluation.summary.items()
        },
        "columns": {
            column.name: {
                "title": column.title,
                "unit": column.metric.unit,
                "better": column.metric.better,
                "primary": column.name in PRIMARY,
            }
            for column in evaluation.columns
        },
        "remarks": list(evaluation.remarks),
        "failures": {case: failure.reason for case, failure in evaluation.failures.items()},
    }


def format_table(evaluation: Evaluation) -> str:
    """The headlines of every method, the primary endpoints in detail, and the remarks; at most 100 columns."""
    count, virtual = len(evaluation.cases), sum(case.virtual for case in evaluation.cases)
    parts = [
        f"Means over {count} case{'s' * (count != 1)}{f', {virtual} of them virtual' if virtual else ''}",
        _headline_table(evaluation),
        _wrapped(_legend(evaluation.headlines)),
        "The primary endpoints, whose tests need no correction",
        *(_detail_table(evaluation, column) for column in evaluation.columns if column.name in PRIMARY),
        "\n".join(_wrapped(f"* {remark}", indent="  ") for remark in evaluation.remarks),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline_table(evaluation: Evaluation) -> str:
    heads = [_head(column) for column in evaluation.headlines]
    rows = [
        [_figure(statistics[column.name].mean, column) for column in evaluation.headlines]
        for statistics in evaluation.summary.values()
    ]
    return _aligned(["", "method"], list(evaluation.summary), heads, rows)


def _legend(columns: Sequence[Column]) -> str:
    """What the metrics of some columns are measured in, and which way they get better."""
    words = []
    for column in columns:
        metric = column.metric
        unit = f" in {metric.unit}" if metric.unit else ""
        where = f" of {range_title(column.window)} HU" if column.window else ""
        words.append(f"{metric.short}{unit}{where} ({metric.direction.words})")
    return f"{', '.join(dict.fromkeys(words))}. What they mean: python -m ncct_cta.metrics."


def _detail_table(evaluation: Evaluation, column: Column) -> str:
    heads = [["", "cases"], ["", "mean"], ["", "SD"], ["bootstrap", "95 % interval"], ["p against", IDENTITY]]
    first = next((method for method in evaluation.methods if not method.is_baseline), None)
    if first is not None:
        heads.append(["p against", shortened(first.name, NAME_WIDTH)])
    rows = []
    for statistics in evaluation.summary.values():
        own = statistics[column.name]
        interval = f"{_figure(own.low, column)} - {_figure(own.high, column)}" if own.cases > 1 else "n/a"
        tests = [probability(p) for p in (own.p_identity, own.p_first)]
        figures = [str(own.cases), _figure(own.mean, column), _figure(own.std, column), interval, *tests]
        rows.append(figures[: len(heads)])
    short, where = _head(column)
    return _aligned([f"{short} in HU,", where], list(evaluation.summary), heads, rows)


def _aligned(corner: Sequence[str], methods: Sequence[str], heads: list[list[str]], rows: list[list[str]]) -> str:
    """Format right-aligned columns after the methods' names."""
    names = [*corner, *(shortened(SHOWN_NAMES.get(name, name), NAME_WIDTH) for name in methods)]
    cells = [[head[line] for head in heads] for line in range(len(corner))] + rows
    name_width = max(map(len, names))
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    lines = (
        "  ".join([f"{name:<{name_width}}", *(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True))])
        for name, line in zip(names, cells, strict=True)
    )
    return "\n".join(line.rstrip() for line in lines)


def _head(column: Column) -> list[str]:
    """Two lines, the second at most nine characters wide: nine columns and a name fit the terminal."""
    return [column.metric.short, "rest" if column.region == NONVESSEL else column.where]


def _figure(value: float, column: Column) -> str:
    if math.isnan(value):
        return "n/a"
    return f"{value:.{column.decimals if abs(value) < 100 else min(column.decimals, 1)}f}"


def probability(p: float) -> str:
    """Format a p-value as journals do: ``0.031``, ``< 0.001``, or ``n/a``."""
    if math.isnan(p):
        return "n/a"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent)


def _csv_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of CSV: what is n/a is empty."""
    return {name: "" if isinstance(cell, float) and math.isnan(cell) else cell for name, cell in row.items()}
