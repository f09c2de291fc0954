"""The result of an evaluation: plain data from which tables, files and the report are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..common.hu import HUWindow
from ..data import Case
from ..metrics import Column, columns, headlines
from ..settings.sections import DataConfig
from .failures import Failure
from .uncertainty.findings import MethodUncertainty

IDENTITY, HU_REMAP = "identity", "hu_remap"
BASELINES = (IDENTITY, HU_REMAP)
SHOWN_NAMES = {HU_REMAP: "HU remap"}
DEFAULT_WINDOW = HUWindow(*DataConfig().window)

# The scores of one method on one case: ``case``, ``method`` and every score by its column's name (NaN: n/a).
ScoreRow = Mapping[str, str | float]


@dataclass(frozen=True)
class Method:
    """One way to get a CTA.

    Args:
        name: as tables show it.
        predictions: by case name, the NIfTI file in HU on the NCCT's grid; the identity's are the NCCTs.
        run: the run's folder, if the method is a run; its ``metrics.csv`` holds the curves.
        window: of predictions that are scaled from it to [-1, 1]; None: they are in HU.
        segments: by case name, the masks that the user's own segmentation found in the prediction and in the CTA;
            empty without one.
        named_baseline: whether the user named it as a baseline, such as a plain UNet's run.
    """

    name: str
    predictions: Mapping[str, Path]
    run: Path | None = None
    window: HUWindow | None = None
    named_baseline: bool = False
    segments: Mapping[str, tuple[Path, Path]] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        """Whether the others are compared with it rather than the reverse."""
        return self.named_baseline or self.name in BASELINES

    @property
    def made_elsewhere(self) -> bool:
        """Whether another program made the predictions: what is made here is in HU, however poor it is."""
        return self.run is None and self.name not in BASELINES


@dataclass(frozen=True)
class Statistic:
    """One score of one method over the cases.

    Args:
        cases: the number of cases in which the score exists; the statistics below are over these.
        mean: NaN if there are none.
        std: standard deviation with n - 1; NaN with fewer than two cases.
        low: lower end of the bootstrap 95 % interval of the mean; NaN with fewer than two cases.
        high: upper end of that interval.
        p_identity: two-sided paired Wilcoxon test against the identity; NaN if the test can't be computed.
        p_first: the same against the first method that isn't a baseline.
        p_identity_corrected: ``p_identity`` after Holm's correction for the number of scores; of a primary endpoint
            as it is.
        p_first_corrected: the same of ``p_first``.
    """

    cases: int
    mean: float
    std: float
    low: float
    high: float
    p_identity: float
    p_first: float
    p_identity_corrected: float = math.nan
    p_first_corrected: float = math.nan


@dataclass(frozen=True)
class Evaluation:
    """All that the tables, the files and the report are made of.

    Args:
        cases: with NCCT and CTA, and the masks that were given or computed; None where there is none, so that its
            scores are n/a.
        methods: the identity first, the HU remap if there was something to fit it on, then what the user gave, in
            that order, baselines before others.
        rows: one for each case and method.
        summary: by method and column.
        remarks: plain sentences on what the numbers can't show, such as too few cases.
        window: the second range of PSNR and SSIM, beside SynthRAD's.
        failures: why other cases, which are in none of the above, could not be scored.
        uncertainty: of the methods with maps of it.
    """

    cases: tuple[Case, ...]
    methods: tuple[Method, ...]
    rows: tuple[ScoreRow, ...]
    summary: Mapping[str, Mapping[str, Statistic]]
    remarks: tuple[str, ...] = ()
    window: HUWindow = DEFAULT_WINDOW
    failures: Mapping[str, Failure] = field(default_factory=dict)
    uncertainty: tuple[MethodUncertainty, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """What ``rows`` and ``summary`` hold, in order."""
        return columns(self.window, segmented=any(method.segments for method in self.methods))

    @property
    def headlines(self) -> tuple[Column, ...]:
        """The headline columns."""
        return headlines(self.window)
