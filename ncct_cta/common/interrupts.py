"""Ctrl-C and SIGTERM, and how a command reports them: one line, and the exit status that shells expect."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any

from .terminal import say

AGAIN = "run the same command again"
# Terminals and job managers signal a whole group, and wrappers pass the signal on: it comes twice, and the second one
# must not break off what the first one has begun to tidy up.
SECONDS_TO_TIDY_UP = 5.0
SECONDS_UNTIL_AGAIN = 0.05

# Whether a Python program called: it wants exceptions, where a user of a command wants one line and an exit status.
_FROM_PYTHON = ContextVar("from_python", default=False)


@contextmanager
def from_python() -> Iterator[None]:
    """Let errors and interrupts be raised as they are within this block."""
    token = _FROM_PYTHON.set(True)
    try:
        yield
    finally:
        _FROM_PYTHON.reset(token)


def is_from_python() -> bool:
    """Whether ``from_python`` holds here."""
    return _FROM_PYTHON.get()


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised where Ctrl-C would be, so that all that closes and removes things runs."""


@contextmanager
def one_line_interrupts(remedy: str | Callable[[], str] = AGAIN) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into one line on stderr and exit status 130 or 143.

    The innermost of several speaks: it knows best how to go on.

    Args:
        remedy: how to go on, the end of the line; a function is asked when it has come to that.
    """
    if is_from_python():
        yield
        return
    with _signals_raise():
        try:
            yield
        except (KeyboardInterrupt, Exception) as error:
            interrupt = interrupt_behind(error)
            if interrupt is None:
                raise
            by_signal = isinstance(interrupt, Terminated)
            name, number = ("SIGTERM", signal.SIGTERM) if by_signal else ("Ctrl-C", signal.SIGINT)
            say(f"stopped by {name}: {remedy if isinstance(remedy, str) else remedy()}")
            raise SystemExit(128 + number) from None


def interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interrupt that an error is, or that it came from: an import that is broken off raises another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let both signals raise, once, where they would do what they do by default; ignored ones stay ignored."""
    with ExitStack() as restoring:
        if threading.current_thread() is threading.main_thread():  # no other may set what a signal does
            raiser = _Raiser(sys.unraisablehook)
            for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) is default:
                    signal.signal(number, raiser)
                    restoring.callback(signal.signal, number, default)
                    sys.unraisablehook = raiser.raise_again
            restoring.callback(raiser.end)
        yield


class _Raiser:
    """What a signal does: it raises, and for some seconds no other one does.

    Args:
        unraisablehook: what Python calls for an exception that it can't pass on, as from a destructor.
    """

    def __init__(self, unraisablehook: Callable[[Any], object]) -> None:
        self.unraisablehook = unraisablehook
        self._deaf_until = 0.0
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now < self._deaf_until:
            return
        self._deaf_until = now + SECONDS_TO_TIDY_UP
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def raise_again(self, unraisable: Any) -> None:
        """Send a signal again that came within a destructor: Python prints such an exception and goes on."""
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            self.unraisablehook(unraisable)
            return
        self._deaf_until = 0.0
        number = signal.SIGTERM if isinstance(unraisable.exc_value, Terminated) else signal.SIGINT
        self._timer = threading.Timer(SECONDS_UNTIL_AGAIN, _signal_main_thread, [number])
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> None:
        """Leave all as it was."""
        sys.unraisablehook = self.unraisablehook
        if self._timer is not None:
            self._timer.cancel()


def _signal_main_thread(number: signal.Signals) -> None:
    if hasattr(signal, "pthread_kill"):  # it ends a wait, too
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:  # Windows
        _thread.interrupt_main(number)
