"""``python -m ncct_cta.features``: train the network whose features a perceptual loss compares.

It learns to find lungs, body, vessels and bone in the CTAs of the training cases, whose masks the software has anyway.
The features are then given to a training by --loss::perceptual_weight and --loss::perceptual_features: nothing is
downloaded. Give the preset and the settings of that training: the patches and the HU window must be the same.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from ..common.command_line import command_parser
from ..common.errors import InputError, one_line_errors
from ..train.command import checked_preset
from ..train.overrides import parse_overrides

STEPS = 500
EPILOG = """\
for example
  %(prog)s g_small --data::datalist phantom --output features.pt
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("features", __doc__, epilog=EPILOG, allow_abbrev=False)
    add = parser.add_argument
    add("config", help="the preset or the YAML file of the training")
    add("--output", required=True, metavar="FILE", help="the file to write")
    add("--steps", type=int, default=STEPS, help=f"optimiser steps (default: {STEPS})")
    return parser


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Train an encoder."""
    arguments, rest = build_parser().parse_known_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    if arguments.steps < 1:
        raise InputError(f"--steps is {arguments.steps}, expected at least 1")
    # What is made here can't be there yet.
    settings = checked_preset(arguments.config, {**parse_overrides(rest), "loss::perceptual_weight": 0.0})
    from .training import make_features  # PyTorch and MONAI: what is wrong by now is said by now

    found = make_features(settings, arguments.output, steps=arguments.steps)
    for mask, dice in found.items():
        print(f"{mask:<8} Dice {dice:.3f}")
    print(f"use them with: --loss::perceptual_weight 0.1 --loss::perceptual_features {arguments.output}")
