"""The columns of every table: which scores there are, what they are called, in which unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..common.hu import HUWindow
from ..common.keys import BODY, LUNG, VESSEL
from ..metrics import NONVESSEL, SYNTHRAD_RANGE, range_name

Better = Literal["lower", "higher", "zero", "one", "neither"]

REGION_TITLES = {BODY: "body", LUNG: "lung", VESSEL: "vessels", NONVESSEL: "body without vessels"}
DECIMALS = {"HU": 1, "dB": 1, "": 3}


@dataclass(frozen=True)
class Column:
    """One score.

    Args:
        name: in scores.csv, summary.csv and summary.json; range and unit are part of it.
        title: as tables and axes show it, with the range if there is one and without the unit.
        unit: ``HU``, ``dB``, or empty for ratios.
        better: ``lower`` and ``higher``; ``zero`` and ``one``: the nearer to it the better; ``neither``: a figure to
            read beside others, of which none is the best.
        metric: what is measured, in a word, for a narrow head.
        region: where, in a word, for a narrow head.
    """

    name: str
    title: str
    unit: str
    better: Better
    metric: str
    region: str

    @property
    def decimals(self) -> int:
        """How many decimals tables show."""
        return DECIMALS[self.unit]


def columns(window: HUWindow) -> tuple[Column, ...]:
    """All columns, in the order of the files.

    Args:
        window: the second range, beside SynthRAD's, that PSNR and SSIM are taken in: usually the model's.
    """
    found = []
    for region, where in REGION_TITLES.items():
        found += [
            Column(f"{region}_mae_hu", f"MAE, {where}", "HU", "lower", "MAE", where),
            Column(f"{region}_rmse_hu", f"RMSE, {where}", "HU", "lower", "RMSE", where),
            Column(f"{region}_bias_hu", f"bias, {where}", "HU", "zero", "bias", where),
        ]
        for suffix, shown in ranges(window).items():
            found += [
                Column(f"{region}_psnr_db_{suffix}", f"PSNR {shown}, {where}", "dB", "higher", "PSNR", where),
                Column(f"{region}_ssim_{suffix}", f"SSIM {shown}, {where}", "", "higher", "SSIM", where),
            ]
    for suffix, shown in ranges(window).items():
        name = f"body_msssim_{suffix}"
        found.append(Column(name, f"MS-SSIM {shown}, body's axial slices", "", "higher", "MS-SSIM", "body"))
    return (*found, *_VESSEL_COLUMNS)


def headlines(window: HUWindow) -> tuple[Column, ...]:
    """The handful that a terminal and the top of a report show."""
    by_name = {column.name: column for column in columns(window)}
    return tuple(by_name[name] for name in _HEADLINES)


def ranges(window: HUWindow) -> dict[str, str]:
    """The ranges of PSNR and SSIM: the end of the column's name, and as it is shown; SynthRAD's first.

    >>> ranges(HUWindow(-1000, 600))
    {'range4095': '[-1024, 3071]', 'window_-1000_600': '[-1000, 600]'}
    """
    return {range_name(each): f"[{each.lower:g}, {each.upper:g}]" for each in (SYNTHRAD_RANGE, window)}


_VESSEL_COLUMNS = (
    # 1 is perfect and 0 is the identity; the identity's spread is 0 too, so that a small spread alone says nothing.
    Column("enhancement_recovery", "enhancement recovery", "", "one", "recovery", "vessels"),
    Column("enhancement_recovery_spread", "enhancement recovery, SD over regions", "", "neither", "spread", "vessels"),
    # Blurring raises the contrast-to-noise ratio: as far from the CTA's as too little contrast.
    Column("vessel_cnr", "contrast-to-noise ratio, vessels", "", "neither", "CNR", "vessels"),
    Column("vessel_cnr_ratio", "contrast-to-noise ratio / the CTA's", "", "one", "CNR/CTA's", "vessels"),
    Column("vessel_dice", "Dice of thresholded vessels", "", "higher", "Dice", "vessels"),
    Column("vessel_cldice", "centreline Dice of thresholded vessels", "", "higher", "clDice", "vessels"),
    Column("lung_vessel_sharpness", "sharpness / the CTA's, vessels in the lungs", "", "one", "sharpness", "lung"),
)
_HEADLINES = (
    "vessel_mae_hu",
    "nonvessel_mae_hu",
    "lung_mae_hu",
    "body_mae_hu",
    f"body_psnr_db_{range_name(SYNTHRAD_RANGE)}",
    f"body_ssim_{range_name(SYNTHRAD_RANGE)}",
    "enhancement_recovery",
    "vessel_cldice",
    "lung_vessel_sharpness",
)
