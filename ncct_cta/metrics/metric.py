"""All there is to know of a metric, in one record, and the columns that it fills."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..common.hu import HUWindow
from .case_images import ComparedImages
from .ranges import range_name, range_title
from .regions import REGIONS

Unit = Literal["HU", "dB", "ml", "mm", ""]
Better = Literal["lower", "higher", "zero", "one", "neither"]

DECIMALS: dict[Unit, int] = {"HU": 1, "dB": 1, "ml": 2, "mm": 2, "": 3}
EMPTY_REGION = "the region holds no voxel"
REGION, RANGE = "{region}", "{range}"


@dataclass(frozen=True)
class Direction:
    """Which way a score gets better.

    Args:
        words: as tables say it.
        distance: from the best there can be: the least is the best of the methods; None: there is no best.
    """

    words: str
    distance: Callable[[float], float] | None


DIRECTIONS: dict[Better, Direction] = {
    "lower": Direction("lower is better", lambda score: score),
    "higher": Direction("higher is better", lambda score: -score),
    "one": Direction("1 is best", lambda score: abs(score - 1)),
    "zero": Direction("0 is best", abs),
    "neither": Direction("no best; read it beside the others", None),
}


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        name: of its columns in scores.csv, summary.csv and summary.json, with the unit. ``{region}`` stands for each
            region, ``{range}`` for each range of HU: there is a column for each.
        compute: a module's function of ``ComparedImages`` that gives the score, NaN where there is none. It is given
            ``region`` and ``window`` by keyword if the name has ``{region}`` and ``{range}``.
        title: as tables and axes show it, without the unit; ``{region}`` and ``{range}`` as in the name.
        short: the same in a word, for a narrow column header.
        unit: ``HU``, ``dB``, ``ml``, ``mm``, or empty for ratios.
        limits: the least and the highest value that it can have.
        better: ``lower`` and ``higher``; ``zero`` and ``one``: the nearer to it the better; ``neither``: a figure to
            read next to others; no value is best.
        meaning: what it says, for someone who sees it the first time.
        missing: where a case has no such score, as the end of a sentence that begins with "n/a where".
        region: the one region of a metric that isn't taken in each; n/a where it is empty. None: the metric finds out
            by itself where to look.
        where: that place in a word, for a narrow head; by default the region's title.
    """

    name: str
    compute: Callable[..., float]
    title: str
    short: str
    unit: Unit
    limits: tuple[float, float]
    better: Better
    meaning: str
    missing: str
    region: str | None = None
    where: str = ""

    @property
    def in_each_region(self) -> bool:
        """Whether there is a column for each region."""
        return REGION in self.name

    @property
    def in_each_range(self) -> bool:
        """Whether there is a column for each range of HU."""
        return RANGE in self.name

    @property
    def direction(self) -> Direction:
        """Which way it gets better."""
        return DIRECTIONS[self.better]


@dataclass(frozen=True)
class Column:
    """One score of every table.

    Args:
        metric: what is measured.
        region: where; None where the metric finds out by itself.
        window: the range of HU, if the metric has one.
    """

    metric: Metric
    region: str | None = None
    window: HUWindow | None = None

    @property
    def name(self) -> str:
        """In scores.csv, summary.csv and summary.json; region, unit and range are part of it."""
        return self.metric.name.format(region=self.region, range=self.window and range_name(self.window))

    @property
    def title(self) -> str:
        """As tables and axes show it, with the range if there is one and without the unit."""
        return self.metric.title.format(region=self.where, range=self.window and range_title(self.window))

    @property
    def where(self) -> str:
        """Where it is taken, in a word or a few."""
        return self.metric.where or (REGIONS[self.region].title if self.region else "")

    @property
    def decimals(self) -> int:
        """How many decimals tables show."""
        return DECIMALS[self.metric.unit]

    def score(self, images: ComparedImages) -> float:
        """The score of a prediction; NaN: n/a."""
        if self.region in images.case.empty_regions:
            return math.nan
        places = {"region": self.region} if self.metric.in_each_region else {}
        ranges = {"window": self.window} if self.metric.in_each_range else {}
        return self.metric.compute(images, **places, **ranges)


def ratio(above: float, below: float) -> float:
    """``above / below``; NaN where there is nothing to divide by."""
    return above / below if below else math.nan
