"""The catalogue of all metrics, which scores, tables, statistics, the terminal and the report read.

A metric is one function and one record, side by side in a module of this package, or anywhere else: ``register``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..common.hu import HUWindow
from . import (
    detail,
    diameter,
    enhancement,
    false_enhancement,
    hallucination,
    level_and_shape,
    segments,
    similarity,
    vessel_overlap,
    voxelwise,
)
from .case_images import ComparedImages
from .metric import Column, Metric
from .ranges import SYNTHRAD_RANGE, range_name, range_title, scored_ranges
from .regions import REGIONS

# In the order of the tables.
METRICS: list[Metric] = [
    *voxelwise.METRICS,
    *similarity.METRICS,
    *level_and_shape.METRICS,
    *enhancement.METRICS,
    *vessel_overlap.METRICS,
    *diameter.METRICS,
    *hallucination.METRICS,
    *false_enhancement.METRICS,
    *detail.METRICS,
]
# Declared before anything is scored, so that their tests need no correction for the number of scores: is the contrast
# where it should be, and is all else left alone?
PRIMARY = ("vessel_shape_mae_hu", "nonvessel_mae_hu")
HEADLINES = (
    "vessel_mae_hu",
    "vessel_shape_mae_hu",
    "nonvessel_mae_hu",
    f"body_psnr_db_{range_name(SYNTHRAD_RANGE)}",
    "enhancement_recovery",
    "vessel_cldice",
    "false_vessel_ml",
    "missed_vessel_ml",
    "lung_vessel_detail",
)


def register(metric: Metric) -> None:
    """Add a metric of your own to every table, before anything is scored.

    Raises:
        ValueError: if one of that name is there already.
    """
    if metric.name in [known.name for known in METRICS]:
        raise ValueError(f"metric {metric.name!r}: there is one of that name already; give it another")
    METRICS.append(metric)


def columns(window: HUWindow, *, segmented: bool = False) -> tuple[Column, ...]:
    """All columns, in the order of the files: region by region, then what isn't taken in each of them.

    Args:
        window: the range for PSNR and SSIM in addition to SynthRAD's: usually the model's.
        segmented: whether the user's own segmentation is compared too.
    """
    ranges = scored_ranges(window)
    in_regions = [metric for metric in METRICS if metric.in_each_region]
    found = []
    for region in REGIONS:
        found += [Column(metric, region) for metric in in_regions if not metric.in_each_range]
        found += [Column(metric, region, each) for each in ranges for metric in in_regions if metric.in_each_range]
    for metric in (*METRICS, *(segments.METRICS if segmented else ())):
        if not metric.in_each_region:
            found += [Column(metric, metric.region, each) for each in (ranges if metric.in_each_range else (None,))]
    return tuple(found)


def headlines(window: HUWindow) -> tuple[Column, ...]:
    """The headline columns, shown in the terminal and at the top of the report."""
    by_name = {column.name: column for column in columns(window)}
    return tuple(by_name[name] for name in HEADLINES)


def scores(images: ComparedImages, columns: Sequence[Column]) -> dict[str, float]:
    """All scores of a prediction, by column; NaN: n/a."""
    return {column.name: column.score(images) for column in columns}


def as_markdown() -> str:
    """All metrics as a table, and what their names' placeholders stand for."""
    lines = [
        "| column | metric | unit | range | better | meaning | n/a where |",
        "|---|---|---|---|---|---|---|",
        *("| " + " | ".join(_cells(metric)) + " |" for metric in (*METRICS, *segments.METRICS)),
        "",
        "| REGION | what it is |",
        "|---|---|",
        *(f"| `{name}` | {region.meaning} |" for name, region in REGIONS.items()),
        "",
        f"RANGE is `{range_name(SYNTHRAD_RANGE)}` for {range_title(SYNTHRAD_RANGE)} HU, or `window_LOWER_UPPER`, the "
        "evaluation's second range.",
    ]
    return "\n".join(lines)


def _cells(metric: Metric) -> list[str]:
    words = {"region": "REGION", "range": "RANGE"}
    title = metric.title.format(**words)
    low, high = (f"{limit:g}".replace("inf", "∞").replace("-", "−") for limit in metric.limits)
    limits = f"{low} to {high}"
    direction = metric.direction.words
    return [f"`{metric.name.format(**words)}`", title, metric.unit, limits, direction, metric.meaning, metric.missing]
