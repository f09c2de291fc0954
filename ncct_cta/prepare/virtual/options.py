"""What ``prepare virtual`` is told."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..bulk import machine_memory_gb
from ..splits import DEFAULT_SHARES
from .variety import VirtualSettings

RANGES = {
    "blood_hu": "level of the blood without iodine, HU",
    "organs": "share of their enhancement that organs lose",
    "noise": "fresh noise, in units of the scan's own",
    "kernel_mm": "the NCCT's kernel against the scan's: below 0 sharper, above 0 smoother, mm",
    "thickness_mm": "the NCCT's slice thickness in mm, where it exceeds the scan's",
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
    parser.add_argument(
        "--split", type=float, nargs=3, default=DEFAULT_SHARES, metavar=("TRAINING", "VALIDATION", "TESTING"),
        help="fractions of the patients (default: 0.7 0.15 0.15)",
    )  # fmt: skip
    parser.add_argument(
        "--accept", nargs="+", default=[], metavar="CASE", help="accept these cases although quality control flags them"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cases at a time (default: processors)")
    parser.add_argument(
        "--memory-gb", type=float, default=machine_memory_gb(), help="for all of them (default: 70 %% of the machine's)"
    )
