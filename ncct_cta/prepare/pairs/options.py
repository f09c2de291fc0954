"""What ``prepare pairs`` is told."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..bulk import machine_memory_gb
from ..splits import DEFAULT_SHARES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``pairs`` to its parser."""
    parser.add_argument("pairs", type=Path, metavar="PAIRS_CSV", help="columns case, patient, ncct, cta, status")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets the cases and the case list")
    parser.add_argument("--no-deformable", action="store_true", help="rigid registration only")
    parser.add_argument(
        "--keep-grid", action="store_true", help="keep the NCCT's whole grid (default: cropped to what both scans show)"
    )
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="resample to this voxel size in mm (default: that of the NCCT)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the registration and of the split (default: 0)")
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
