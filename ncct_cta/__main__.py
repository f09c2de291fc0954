"""``ncct-cta COMMAND``, or ``python -m ncct_cta COMMAND``: the same commands as ``python -m ncct_cta.COMMAND``."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence

from . import __version__
from .common.command_line import program

COMMANDS = {
    "train": "train a network from a preset",
    "infer": "synthesise the CTA of non-contrast chest CTs",
    "view": "look at a case's images side by side in a browser",
    "evaluate": "score predictions beside baselines that know no anatomy, and write a report",
    "features": "train the encoder of a perceptual loss on your own masks",
    "compare": "train recipes for equal time and score them in one report",
    "pack": "put a trained model and its card into one file to give away",
    "export": "write a trained network as an ONNX model for other programs",
    "prepare": "from folders of CT scans to aligned training pairs",
    "demo": "the whole way on synthetic patients, in minutes",
    "phantom": "write synthetic patients to try the software on",
    "settings": "print every setting, its default and its meaning",
    "metrics": "print every metric of an evaluation, its unit and its meaning",
}


def build_parser() -> argparse.ArgumentParser:
    """The command line up to the command's name; what follows belongs to the command."""
    listed = "\n".join(f"  {name:<10}{meaning}" for name, meaning in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog=program(),
        usage="%(prog)s COMMAND ... | --help | --version",
        description="Synthesise a CT angiography from a non-contrast chest CT. For research, not for diagnosis.",
        epilog=f"commands (%(prog)s COMMAND --help tells more)\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ncct-cta {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the first word names; without one, list the commands."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    if not words:
        parser.print_help()
        return
    if words[0].startswith("-"):
        parser.parse_args(words)  # --help, --version, or an error: it ends here
    name, *rest = words
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}"
        parser.error(f"there is no command {name!r}; {hint}")
    importlib.import_module(f"{__package__}.{name}.command").main(rest)


if __name__ == "__main__":
    main()
