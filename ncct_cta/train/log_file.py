"""A training's log file, which is known only once the run's folder is."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

from ..common.files import drop_link


class _LogFile(logging.FileHandler):
    """A log file on a disk that may be full: the training goes on without the lines that can't be written."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing of a failed write; Python would print a traceback for every line."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Close the file, even where the last lines can't be written."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def log_file_to_come(*, debug: bool = False) -> Iterator[Callable[[Path], None]]:
    """Keep this process' log, at debug level if wanted, until the function that it yields is given the file."""
    kept = MemoryHandler(capacity=1)  # without a target it buffers everything; with one it passes everything on

    def write_to(path: Path) -> None:
        drop_link(path)
        file = closing.enter_context(contextlib.closing(_LogFile(path)))
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        kept.setTarget(file)
        kept.flush()

    package = logging.getLogger("ncct_cta")
    level = package.level
    logging.getLogger().addHandler(kept)
    if debug:
        package.setLevel(logging.DEBUG)
    with contextlib.ExitStack() as closing:
        try:
            yield write_to
        finally:
            package.setLevel(level)
            logging.getLogger().removeHandler(kept)
            kept.close()
