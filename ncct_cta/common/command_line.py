"""What the commands' parsers have in common; light, because a command's help must not wait for PyTorch."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from .errors import InputError
from .names import shortened
from .progress import add_quiet

SCRIPT = "ncct-cta"


def program(command: str = "") -> str:
    """Return what the user typed to call a command, or the program if there is none: the usage repeats it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if Path(sys.argv[0]).stem == SCRIPT:
        return f"{SCRIPT} {command}".rstrip()
    if not command or (spec is not None and spec.name == "ncct_cta.__main__"):
        return f"python -m ncct_cta {command}".rstrip()
    return f"python -m ncct_cta.{command}"


def command_parser(command: str, doc: str | None, **options: Any) -> argparse.ArgumentParser:
    """Return a parser that describes a command by its module's docstring, as laid out there.

    Args:
        command: its name.
        doc: the docstring, ````python -m ncct_cta.infer``: synthesise ...``; what stands before the colon isn't shown.
        options: what else ``argparse.ArgumentParser`` takes; ``%(prog)s`` in an epilog becomes the program.
    """
    _, _, text = (doc or "").partition(": ")
    parser = argparse.ArgumentParser(
        prog=program(command),
        description=text[:1].upper() + text[1:],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )
    add_quiet(parser)
    return parser


def require_path(path: str | os.PathLike[str], kind: str = "file or folder") -> None:
    """Refuse a path that isn't there, before anything that takes seconds is imported.

    Raises:
        InputError: naming the path.
    """
    if not os.path.exists(path):
        raise InputError(f"{shortened(path)}: there is no such {kind}; check the path")


def add_scheduler(parser: argparse.ArgumentParser, work: str) -> None:
    """Add ``--scheduler``: of a dask cluster that can do a command's ``work``, in words such as "scores the cases"."""
    parser.add_argument(
        "--scheduler", default="", metavar="ADDRESS",
        help=f"of a dask cluster that {work} instead of this machine, such as tcp://HOST:8786 (extra ncct-cta[dask])",
    )  # fmt: skip
