"""Bad input, and how a command reports it: in one line with the value, what was expected and the remedy."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging import LogRecord

from .interrupts import is_from_python, one_line_interrupts
from .progress import quiet_ends_here
from .terminal import say

EXIT_BAD_INPUT = 2
EXIT_SOME_FAILED = 3
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(ValueError):
    """Something the user gave (a file, a setting, a folder) can't be used; the message says what to do."""

    status = EXIT_BAD_INPUT


class SomeFailed(InputError):
    """The command went through all cases, and some, or all, of several failed."""

    status = EXIT_SOME_FAILED


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what ends a command for a reason of the user's into one line on stderr; no traceback reaches the user.

    The exit status is 2 after an ``InputError`` or on a full disk, 3 if cases failed while others were done
    (``SomeFailed``), 130 after Ctrl-C and 143 after SIGTERM. Within ``from_python`` they are raised as they are.
    """
    if is_from_python():
        yield
        return
    with quiet_ends_here(), one_line_interrupts():
        try:
            yield
        except InputError as error:
            say(f"error: {error}")
            raise SystemExit(error.status) from None
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            say(f"error: {error.filename or 'a file'}: can't be written ({reason_of(error)}); free some space")
            raise SystemExit(EXIT_BAD_INPUT) from None


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise an ``InputError`` itself: MONAI raises a ``RuntimeError`` from what a part of a workflow raises."""
    try:
        yield
    except RuntimeError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from None


def reason_of(error: OSError) -> str:
    """Why the system refused, in words; NumPy gives neither a number nor the system's words for a full disk."""
    if re.search(r"requested and \d+ written", str(error)):
        return "no space left, or a limit on files' sizes"
    return error.strerror or str(error) or type(error).__name__


def is_news(record: LogRecord) -> bool:
    """A filter for a log: False for what is said in a line of its own anyway, bad input and interrupts.

    Ignite logs twice that an engine stops, with the exception's text.
    """
    return not isinstance(sys.exc_info()[1], (InputError, KeyboardInterrupt))


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
