"""``python -m ncct_cta.pack``: pack a trained model into one file that can be given away.

The file holds the averaged weights, the settings, and a card: what the model was trained on in your words, its scores
in an evaluation, what it can't do, and its licence. Nothing in it is code, and no path, case or patient is named in it,
unless your own words do. infer --model FILE checks it and gives the same images as infer --run RUN, bit for bit.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from ..common.command_line import command_parser, require_path
from ..common.errors import InputError, one_line_errors
from ..runs.model_source import ModelSource

EPILOG = """\
for example
  %(prog)s runs/g --output g.zip --scores evaluation --training "120 pairs of one hospital, 2019 to 2023, two scanners"
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("pack", __doc__, epilog=EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("run", metavar="RUN", help="the run's folder")
    add("--output", required=True, metavar="FILE", help="the file to write, named .zip")
    add("--checkpoint", default="", metavar="FILE", help="of the run (default: its best)")
    add("--scores", nargs="+", default=[], metavar="[TITLE=]DIR", help="evaluations of this run, for the card")
    add("--half", action="store_true", help="store weights in half precision: half the size, nearly the same images")
    add("--method", default="", metavar="NAME",
        help="what those evaluations call it (default: as the run's folder, or its only trained method)")  # fmt: skip
    add(
        "--training",
        default="",
        metavar="TEXT",
        help="the training data in your words: whose, how many, which scanners",
    )
    add("--licence", default="", metavar="TEXT", help="what others may do with the model")
    add("--overwrite", action="store_true", help="replace a file that is there")
    return parser


def titled(word: str) -> tuple[str, str]:
    """``TITLE=DIR``, or ``DIR``, which has no title: what a table of scores is called, and where it is from."""
    title, given, folder = word.partition("=")
    return (title, folder) if given and not os.path.exists(word) else ("", word)


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Pack, and print the file's SHA-256."""
    options = build_parser().parse_args(argv)
    require_path(options.run, "run folder")
    ModelSource(run=options.run, checkpoint=options.checkpoint).require()
    if not options.output.endswith(".zip"):
        raise InputError(f"{options.output}: expected a file's name that ends in .zip")
    if os.path.exists(options.output) and not options.overwrite:
        raise InputError(f"{options.output}: is there already; --overwrite replaces it, or choose another --output")
    scores = [titled(word) for word in options.scores]
    for _, folder in scores:
        require_path(folder)
    from .packing import pack  # PyTorch and MONAI: what is wrong by now is said by now

    digest = pack(
        options.run,
        options.output,
        checkpoint=options.checkpoint,
        scores=scores,
        half=options.half,
        method=options.method,
        training=options.training,
        licence=options.licence,
    )
    print(f"{digest}  {options.output}")
