"""Bad input, and how a command reports it: one line that gives the value, what was expected and the remedy."""

from __future__ import annotations

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
