"""``python -m ncct_cta.compare``: which recipe is best on your own pairs, if each trains for the same time?

It trains recipes one after another, each for as many steps as fit into the same time, without validations, and scores
the last weights of each on the held-out cases, in one report. Time is the process' CPU time, summed over its threads,
and on a GPU the clock's; a step's time is measured first and isn't counted. The same command goes on with what is
missing: what is trained isn't trained again.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ..common.command_line import command_parser, require_path
from ..common.errors import InputError, one_line_errors
from ..train.command import checked_preset
from ..train.overrides import parse_overrides
from .plan import chosen_recipes, refuse_decided

EPILOG = """\
a setting given as --section::key value holds for all recipes, for example
  %(prog)s --datalist phantom --recipes unet_2d g_small --minutes 10 --data::patch_size 128,128
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("compare", __doc__, epilog=EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("--datalist", required=True, metavar="FILE_OR_FOLDER", help="the pairs: a case list or a folder of cases")
    add("--recipes", nargs="+", default=["all"], metavar="NAME",
        help="recipes, presets or YAML files; all: every recipe (default: all)")  # fmt: skip
    add("--minutes", type=float, default=30.0, help="time of each training (default: 30)")
    add("--seed", type=int, default=0, help="seed of each training (default: 0)")
    add("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    add("--output", default="./comparison", metavar="DIR", help="the folder to write to (default: ./comparison)")
    return parser


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Compare."""
    arguments, rest = build_parser().parse_known_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    require_path(arguments.datalist)
    if not 0 < arguments.minutes < float("inf"):
        raise InputError(f"--minutes is {arguments.minutes:g}, expected more than 0")
    given = parse_overrides(rest)
    refuse_decided(given)
    recipes = chosen_recipes(arguments.recipes)
    for preset in recipes.values():
        checked_preset(preset, {**given, "data::datalist": arguments.datalist})
    from .comparison import run_comparison  # PyTorch, MONAI and Ignite: what is wrong by now is said by now

    run_comparison(
        recipes,
        datalist=Path(arguments.datalist),
        minutes=arguments.minutes,
        output=Path(arguments.output),
        device=arguments.device,
        seed=arguments.seed,
        words=rest,
    )
