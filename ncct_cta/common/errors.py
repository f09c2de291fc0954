"""Bad input, and how a command reports it: one line that gives the value, what was expected and the remedy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_BAD_INPUT = 2


class InputError(ValueError):
    """Something the user gave (a file, a setting, a folder) can't be used; the message says what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an ``InputError`` into one line on stderr and exit status 2; no traceback reaches the user."""
    try:
        yield
    except InputError as error:
        # One write, line end included: the lines of several processes on one stream stay lines.
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        raise SystemExit(EXIT_BAD_INPUT) from None


def fault_in_words(error: Exception) -> str:
    """What a user is told of an exception that nobody foresaw: of what kind and where, to be reported.

    Never its own text: that may hold a path, and the path a patient's name.
    """
    return f"a fault of this software ({type(error).__name__} in {_place_in_code(error)}); please report it"


def _place_in_code(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno}"
