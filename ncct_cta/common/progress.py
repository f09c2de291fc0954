"""Progress bars: drawn on a terminal, never into a log file or a pipe, and not where ``--quiet`` is given."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_QUIET = ContextVar("quiet", default=False)


def progress_bar(over: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """A bar over something, or one to be moved by hand.

    Args:
        over: what it goes through.
        shown: False where a bar would tell nothing.
        options: what else tqdm takes.
    """
    from tqdm import tqdm  # a command's help, which is printed at once, has no bars

    disable = True if _QUIET.get() or not shown else None  # None: where stderr is no terminal
    return tqdm(over, disable=disable, **options)


@contextmanager
def quiet_ends_here() -> Iterator[None]:
    """Take ``--quiet`` back at the end of the block: it holds for the command that it was given to."""
    before = _QUIET.get()
    try:
        yield
    finally:
        _QUIET.set(before)


def is_quiet() -> bool:
    """Whether ``--quiet`` holds here."""
    return _QUIET.get()


def console_level() -> int:
    """From which level on a command's log is shown: what needs attention where ``--quiet`` is given."""
    return logging.WARNING if _QUIET.get() else logging.INFO


def quiet_console() -> None:
    """Where ``--quiet`` is given, show what needs attention alone; log files keep everything."""
    for handler in logging.getLogger().handlers:
        shows = isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr)
        if shows and _QUIET.get():
            handler.setLevel(logging.WARNING)


class Quiet(argparse.Action):
    """``--quiet``."""

    def __call__(self, *_: Any, **__: Any) -> None:
        """Be quiet from now on."""
        _QUIET.set(True)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet`` to a command."""
    parser.add_argument("--quiet", action=Quiet, nargs=0, help="no progress bars; only warnings and errors are logged")
