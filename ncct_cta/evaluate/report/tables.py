"""The report's tables: every number as the text of a cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...metrics import PRIMARY, Column
from ..results import IDENTITY, SHOWN_NAMES, Evaluation, Method, Statistic
from ..score_files import probability

NOT_AVAILABLE = "n/a"


@dataclass(frozen=True)
class Cell:
    """One statistic as text.

    Args:
        mean: or ``n/a``.
        interval: the 95 % interval in brackets, or empty.
        best: whether no other method's mean is better.
        p_identity: p-value against the identity, corrected unless the score is a primary endpoint, or ``n/a``.
        p_first: p-value against the first method that isn't a baseline.
        tests: cases, standard deviation and p-values in a sentence.
    """

    mean: str
    interval: str
    best: bool
    p_identity: str
    p_first: str
    tests: str


@dataclass(frozen=True)
class TableRow:
    """A method's row in the table of headline scores."""

    name: str
    baseline: bool
    cells: tuple[Cell, ...]


def shown_name(method: str) -> str:
    """Return a method's name as shown in tables and pictures."""
    return SHOWN_NAMES.get(method, method)


def first_trained(methods: Sequence[Method]) -> Method:
    """Return the first method that isn't a baseline; the identity if all are."""
    return next((method for method in methods if not method.is_baseline), methods[0])


def table(evaluation: Evaluation, columns: Sequence[Column]) -> tuple[TableRow, ...]:
    """A row for every method, a cell for every column."""
    best = {column.name: _best(evaluation, column) for column in columns}
    first = shown_name(first_trained(evaluation.methods).name)
    rows = []
    for method in evaluation.methods:
        found = evaluation.summary[method.name]
        cells = (_cell(found[c.name], c, method.name in best[c.name], first) for c in columns)
        rows.append(TableRow(shown_name(method.name), method.is_baseline, tuple(cells)))
    return tuple(rows)


def heading(column: Column) -> str:
    """A column's title with its unit and its direction, for readers who see it for the first time."""
    metric = column.metric
    unit = f" in {metric.unit}" if metric.unit else ""
    return f"{column.title}{unit}: {metric.meaning}. {metric.direction.words.capitalize()}."


def figure(value: float, decimals: int) -> str:
    """Format a number with a true minus sign, as ``∞`` or as ``n/a``.

    >>> figure(-0.25, 1), figure(float("inf"), 1), figure(float("nan"), 1)
    ('−0.2', '∞', 'n/a')
    """
    return NOT_AVAILABLE if math.isnan(value) else f"{value:.{decimals}f}".replace("-", "−").replace("inf", "∞")


def _best(evaluation: Evaluation, column: Column) -> set[str]:
    """Return the methods with the best mean: several if they tie, none if there is no value.

    A mean over fewer cases than another method's isn't compared: the missing cases may be the hard ones.
    """
    distance = column.metric.direction.distance
    if distance is None:
        return set()
    found = {method.name: evaluation.summary[method.name][column.name] for method in evaluation.methods}
    most = max(statistic.cases for statistic in found.values())
    distances = {
        name: distance(own.mean) for name, own in found.items() if own.cases == most and not math.isnan(own.mean)
    }
    least = min(distances.values(), default=math.nan)
    return {name for name, value in distances.items() if value == least}


def _cell(statistic: Statistic, column: Column, best: bool, first: str) -> Cell:
    decimals = column.decimals
    low, high = figure(statistic.low, decimals), figure(statistic.high, decimals)
    interval = "" if math.isnan(statistic.low) else f"[{low}, {high}]"
    p_identity, p_first = map(probability, (statistic.p_identity_corrected, statistic.p_first_corrected))
    correction = "" if column.name in PRIMARY else ", corrected (Holm)"
    tests = (
        f"n = {statistic.cases}, SD {figure(statistic.std, decimals)}; paired Wilcoxon test{correction}: "
        f"p {p_identity} against {IDENTITY}, {p_first} against {first}"
    )
    return Cell(figure(statistic.mean, decimals), interval, best, p_identity, p_first, tests)
