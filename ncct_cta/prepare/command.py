"""``python -m ncct_cta.prepare``: from folders of CT scans to aligned training pairs with masks and a case list.

``scan FOLDER`` lists what a folder contains and proposes pairs of NCCT and CTA in pairs.csv, which you check and edit.
``pairs pairs.csv --output DIR`` registers each CTA with its NCCT, measures how well that went, and writes the case
list.
``virtual SCANS --output DIR`` makes pairs from contrast CTs alone, by taking the iodine out.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from ..common.command_line import command_parser, require_path
from ..common.errors import EXIT_SOME_FAILED, one_line_errors
from ..common.interrupts import AGAIN, one_line_interrupts
from .pairs import options as pairs_options
from .scan import options as scan_options
from .virtual import options as virtual_options

SCAN_HELP = "List what a folder holds, and propose NCCT/CTA pairs to edit."
PAIRS_HELP = """\
Each CTA is registered with its NCCT, rigidly and then by a deformable field, and resampled once, from its own voxels,
onto the NCCT's grid; where that doesn't raise their mutual information, the CTA stays where the scanner's coordinates
put it. Written are {case}_{ncct,cta,lung,vessel}.nii.gz, the case list datalist.json, qc.html and qc.csv
(how well each pair lies), and failures.csv.

The columns ncct and cta of PAIRS_CSV are series that scan has named, or paths relative to it. A pair that quality
control flags is left out of the case list unless you accept it: --accept CASE, or yes in a column accept.

The split goes by patient and depends on the seed and the patients' names: the same patient is never in two splits, and
a patient more moves at most two others. Run the same command again to go on where it stopped.
"""

VIRTUAL_HELP = """\
Each contrast CT becomes a pair that is aligned voxel by voxel: the CTA is the scan, the NCCT the scan without its
iodine. Written are {case}_{ncct,cta,lung,vessel}.nii.gz, the case list datalist.json whose cases are marked virtual,
qc/{case}.json with what was drawn for each, qc.html and qc.csv, and failures.csv.

A case that shows where the iodine was is left out of the case list unless you accept it: --accept CASE. Networks learn
from such pairs, but nothing is proved by them: test on real NCCTs.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = command_parser("prepare", __doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    scanning = commands.add_parser("scan", help="list scans and propose pairs", description=SCAN_HELP)
    scan_options.add_arguments(scanning)
    scanning.set_defaults(run=_scan)
    pairing = commands.add_parser("pairs", help="align pairs", description=PAIRS_HELP, formatter_class=plain)
    pairs_options.add_arguments(pairing)
    pairing.set_defaults(run=_pairs)
    making = commands.add_parser(
        "virtual", help="make pairs from contrast CTs alone", description=VIRTUAL_HELP, formatter_class=plain
    )
    virtual_options.add_arguments(making)
    making.set_defaults(run=_virtual)
    return parser


def _scan(options: argparse.Namespace) -> None:
    require_path(options.folder, "folder")
    from .scan import listing  # PyTorch and SimpleITK: seconds

    listing.run(options)


def _pairs(options: argparse.Namespace) -> int:
    require_path(options.pairs, "list of pairs")
    from .pairs import all_pairs

    return all_pairs.run(options)


def _virtual(options: argparse.Namespace) -> int:
    for scan in options.scans:
        require_path(scan, "scan")
    from .virtual import all_scans

    return all_scans.run(options)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; exit status 2 if the input can't be used, 3 if a case failed."""
    options = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    with one_line_interrupts(f"{AGAIN}: what is finished is not done again"):
        failed = options.run(options)
    if failed:
        raise SystemExit(EXIT_SOME_FAILED)
