"""Lines on stderr: whole, on lines of their own, and none that a library's thread prints by itself."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Control characters, line ends, and marks that turn the direction of writing: a stranger's name with them would rewrite
# the screen or the window's title.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def say(line: str) -> None:
    """Write a line to stderr, below whatever progress bars are drawn there."""
    tqdm = sys.modules.get("tqdm")  # not loaded: then there are no bars
    for bar in list(getattr(tqdm.tqdm, "_instances", ()) if tqdm else ()):
        bar.close()
    # A single write, newline included, so that lines from several processes don't mix.
    sys.stderr.write(f"{CONTROL.sub('?', ' '.join(line.split()))}\n")
    sys.stderr.flush()


@contextmanager
def threads_keep_quiet(kind: type[BaseException]) -> Iterator[None]:
    """Print no traceback for an error of this kind that ends a thread: the thread's owner raises it again.

    TensorBoard's writer does: its next ``flush`` raises what its thread died of.
    """
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not issubclass(args.exc_type, kind):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
