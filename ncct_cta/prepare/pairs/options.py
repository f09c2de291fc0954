"""What ``prepare pairs`` is told."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..cohort_options import add_cohort_options


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
    add_cohort_options(parser)
