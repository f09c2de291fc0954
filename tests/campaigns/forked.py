"""A command in a fork of this process, watched: what it says, how it ends, and what it leaves running."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HANG_SECONDS = 60.0
SECONDS_TO_FOLLOW = HANG_SECONDS  # a process that is importing looks for its parent afterwards

Command = Callable[[list[str]], None]


@dataclass(frozen=True)
class Stop:
    """A signal to come.

    Args:
        after: seconds after the start.
        number: of the signal.
        to_group: as a terminal and most job managers send it; otherwise to the command's first process alone.
    """

    after: float
    number: int
    to_group: bool


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        status: its exit status, negative for the signal that killed it; None if it had to be killed as hung.
        said: stdout and stderr.
        seconds: how long it took.
        orphans: whether it left processes that didn't end by themselves.
    """

    status: int | None
    said: str
    seconds: float
    orphans: bool

    @property
    def has_traceback(self) -> bool:
        """Whether a user saw a traceback, of the command or of one of its threads or workers."""
        return "Traceback (most recent call last)" in self.said

    @property
    def has_word(self) -> bool:
        """Whether the command said that something is wrong."""
        return self.status != 0 or bool(
            re.search(r"^(WARNING|ERROR|error:)|failed: |left out|flagged", self.said, re.M)
        )


def run(
    command: Command,
    words: Sequence[str | Path],
    folder: Path,
    *,
    stop: Stop | None = None,
    before: Callable[[], None] | None = None,
) -> Ended:
    """Run a command in a fork.

    Args:
        command: a command's ``main``.
        words: its command line.
        folder: where it runs, and where its output is kept as ``said.txt``.
        stop: a signal to send it.
        before: is called in the fork first, to set a limit for example.
    """
    said = folder / "said.txt"
    start = time.monotonic()
    process = multiprocessing.get_context("fork").Process(
        target=_child, args=(command, list(map(str, words)), folder, said, before)
    )
    process.start()
    if stop is not None:
        process.join(max(0.0, stop.after - (time.monotonic() - start)))
        if process.exitcode is None:
            _send(process.pid or 0, stop.number, to_group=stop.to_group)
    process.join(HANG_SECONDS)
    status = process.exitcode
    seconds = time.monotonic() - start
    orphans = status is not None and not _alone_within(process.pid or 0, SECONDS_TO_FOLLOW)
    if status is None or orphans:
        _send(process.pid or 0, signal.SIGKILL, to_group=True)
        process.join()
    return Ended(status, said.read_text(errors="replace") if said.exists() else "", seconds, orphans)


def _child(command: Command, words: list[str], folder: Path, said: Path, before: Callable[[], None] | None) -> None:
    os.setsid()
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(handle, stream)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)  # Python's own are pytest's while it captures
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    faulthandler.dump_traceback_later(HANG_SECONDS * 0.9, file=handle)  # where each thread stands, should it hang
    if before is not None:
        before()
    command(words)


def _send(process: int, number: int, *, to_group: bool) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended, or not come to its own session yet
        os.killpg(process, number) if to_group else os.kill(process, number)


def _alone_within(group: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while _members(group):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _members(group: int) -> list[int]:
    """The processes of a group that still run; none where the system has no /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group_of_it = stat.read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(group_of_it) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found
