"""What was found of a method's maps of uncertainty: plain data from which tables and the report are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...common.hu import GROSS_ERROR_HU
from ...common.keys import VESSEL
from ...metrics import NONVESSEL
from ...metrics.spread import Interval

LEVEL = 0.9
REGIONS = {VESSEL: "vessels", NONVESSEL: "rest"}
SHARES = tuple(np.linspace(0, 0.95, 20).round(2).tolist())  # of the voxels that sparsification takes away


@dataclass(frozen=True)
class CaseUncertainty:
    """One case; all over the body's voxels.

    Args:
        case: its name.
        spread: the map's file.
        auroc: of the map for errors above ``GROSS_ERROR_HU``; NaN where there are none.
        left: mean absolute error in HU without each of ``SHARES``, those that the map ranks highest.
        oracle: the same, ranked by the errors themselves.
        reliability: mean SD and root mean square error in HU of ten parts of the voxels.
        coverage: by region, the share of the CTA's voxels that the interval holds; empty without one.
        width: by region, the interval's mean width in HU, likewise.
    """

    case: str
    spread: Path
    auroc: float
    left: np.ndarray
    oracle: np.ndarray
    reliability: tuple[np.ndarray, np.ndarray]
    coverage: Mapping[str, float]
    width: Mapping[str, float]


@dataclass(frozen=True)
class MethodUncertainty:
    """One method.

    Args:
        method: its name.
        cases: those with a map.
        interval: fitted on the validation cases; None where there are none.
        fitted_on: their number.
        remark: what is missing, a plain sentence, or empty.
    """

    method: str
    cases: tuple[CaseUncertainty, ...]
    interval: Interval | None
    fitted_on: int
    remark: str

    @property
    def auroc(self) -> float:
        """The mean over the cases that have one."""
        return _mean([case.auroc for case in self.cases])

    def coverage(self, region: str) -> float:
        """The mean over the cases; NaN without an interval."""
        return _mean([case.coverage.get(region, math.nan) for case in self.cases])

    def width(self, region: str) -> float:
        """The mean over the cases in HU; NaN without an interval."""
        return _mean([case.width.get(region, math.nan) for case in self.cases])


def in_words(found: MethodUncertainty) -> str:
    """The findings in a few sentences."""
    count = len(found.cases)
    if not count:
        return f"Uncertainty of {found.method}: {found.remark}"
    cases = f"{count} case{'s' * (count != 1)}"
    words = f"Uncertainty of {found.method}, {cases}: AUROC {found.auroc:.3f} for errors above {GROSS_ERROR_HU} HU."
    if found.interval is not None:
        held = ", ".join(
            f"{100 * found.coverage(region):.1f} % of the {title} (mean width {found.width(region):.0f} HU)"
            for region, title in REGIONS.items()
        )
        fitted = f"{found.fitted_on} validation case{'s' * (found.fitted_on != 1)}"
        words += f" The {LEVEL:.0%} interval, fitted on {fitted}, holds {held}.".replace("90%", "90 %")
    return f"{words} {found.remark}".rstrip()


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
