"""``python -m ncct_cta.view``: look at the images of a case, side by side in a browser, without scoring anything.

Give a case's folder, or files on one grid, the scan first: a row of linked slices, and below it the difference of each
to the last one. The page is one file that needs no network.
"""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from ..common.command_line import command_parser, require_path
from ..common.errors import one_line_errors

EPILOG = """\
for example
  %(prog)s pairs/P0001
  %(prog)s scan.nii.gz synthetic/scan_syncta.nii.gz
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("view", __doc__, epilog=EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="CASE_DIR|FILE", help="a folder, or files (NIfTI, NRRD, MHA)")
    add("--case", default="", metavar="NAME", help="of a folder that holds several")
    add("--output", type=Path, default="view.html", metavar="FILE", help="default: ./view.html")
    add("--no-browser", action="store_true", help="write the page and don't open it")
    return parser


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Write the page, print its path and open it."""
    options = build_parser().parse_args(argv)
    for source in options.sources:
        require_path(source)
    from ..evaluate.report.view_page import volumes_to_view, write_view  # SciPy and PyTorch: seconds
    from .images import images_of, read_images

    title, images = images_of(options.sources, options.case)
    write_view(volumes_to_view(read_images(images)), [image.name for image in images], title, options.output)
    print(options.output)
    if not options.no_browser:
        webbrowser.open(options.output.resolve().as_uri())
