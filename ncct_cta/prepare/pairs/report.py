"""What quality control shows of pairs."""

from __future__ import annotations

from collections.abc import Mapping

from ..qc_report import Report
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
REPORT = Report(
    heading="Quality of the prepared pairs",
    lead="Before is as the scanner's coordinates have it, after is as it is written.",
    again=", or write yes into a column accept of pairs.csv. Nothing is registered again",
    picture="Checkerboard and lung outline before and after registration, axial, coronal and sagittal",
    titles=TITLES,
    worst=f"{LUNG_DICE}_{AFTER}",
)
