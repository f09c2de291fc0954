"""``python -m ncct_cta.phantom``: write a cohort of synthetic chest CTs to try out or test the software."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..common.command_line import program
from ..common.errors import one_line_errors
from ..common.progress import add_quiet
from .defaults import DEFAULT_SHAPE, DEFAULT_SPACING


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("phantom"),
        description="Write synthetic thorax cases (NCCT, CTA, lung mask, vessel mask as NIfTI) and a datalist.json "
        "that training reads. The same seed gives the same files.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write to; made if missing")
    parser.add_argument("--cases", type=int, default=8, help="number of patients; from 3 on, all three splits")
    parser.add_argument("--seed", type=int, default=0, help="seed; a case depends only on the seed and its number")
    parser.add_argument(
        "--shape", type=int, nargs=3, default=DEFAULT_SHAPE, metavar=("X", "Y", "Z"), help="voxels of a volume"
    )
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        default=DEFAULT_SPACING,
        metavar=("X", "Y", "Z"),
        help="voxel size in mm; the body is scaled to fill shape times spacing",
    )
    parser.add_argument(
        "--motion-mm",
        type=float,
        default=0.0,
        help="largest breathing displacement of the CTA against the NCCT, in mm; above 0, the aligned CTA and the "
        "true displacement field are written too",
    )
    parser.add_argument(
        "--air", type=int, default=0, help="largest number of voxels that a case's slices are wider on each side"
    )
    add_quiet(parser)
    return parser


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Write the phantoms and print where their case list lies."""
    options = _parser().parse_args(argv)
    from .cohort import write_cohort  # SciPy and PyTorch: seconds

    datalist = write_cohort(
        options.output,
        cases=options.cases,
        seed=options.seed,
        shape=tuple(options.shape),
        spacing=tuple(options.spacing),
        motion_mm=options.motion_mm,
        air=options.air,
    )
    print(datalist)
