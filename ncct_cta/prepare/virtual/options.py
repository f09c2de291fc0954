"""What ``prepare virtual`` is told."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..cohort_options import add_cohort_options
from .variety import VirtualSettings

RANGES = {
    "blood_hu": "level of the blood without iodine, HU",
    "organs": "share of their enhancement that organs lose",
    "noise": "fresh noise, in units of the scan's own",
    "kernel_mm": "the NCCT's kernel against the scan's: below 0 sharper, above 0 smoother, mm",
    "thickness_mm": "the NCCT's slice thickness in mm, where it exceeds the scan's",
    "breathing_mm": "largest displacement of the CTA by breathing against the NCCT, mm",
}


def option_of(name: str) -> str:
    """The option that sets a range of ``VirtualSettings``."""
    return "--" + name.removesuffix("_mm").removesuffix("_hu")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``virtual`` to its parser."""
    parser.add_argument("scans", type=Path, nargs="+", metavar="SCAN", help="contrast chest CTs: files, DICOM folders")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets the cases and the case list")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="blood masks of your own, {case}.nii.gz")
    default = VirtualSettings()
    for name, meaning in RANGES.items():
        low, high = getattr(default, name)
        parser.add_argument(
            option_of(name), dest=name, type=float, nargs=2, default=(low, high), metavar=("LOW", "HIGH"),
            help=f"{meaning} (default: {low:g} {high:g})",
        )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of all draws and of the split (default: 0)")
    add_cohort_options(parser)
