"""What ``prepare scan`` is told, and the names of what it writes."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...dicom.pseudonyms import KEY_FILE

SERIES_FILE, PAIRS_FILE = "series.csv", "pairs.csv"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``scan`` to its parser."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="DICOM, NIfTI, NRRD and MHA files; patients mixed")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("prepared"),
        metavar="DIR",
        help=f"folder for {SERIES_FILE}, {PAIRS_FILE} and {KEY_FILE} (default: ./prepared)",
    )
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help=f"an earlier {KEY_FILE}: the same patients keep their pseudonyms (default: DIR/{KEY_FILE} if it exists)",
    )
