"""What every command that prepares many cases is told: the split, what to accept, and how many at a time."""

from __future__ import annotations

import argparse
import os

from ..common.bulk import machine_memory_gb
from ..common.command_line import add_scheduler
from .splits import DEFAULT_SHARES


def add_cohort_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a command's parser."""
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
    add_scheduler(parser, "prepares the cases")
