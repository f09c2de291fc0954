"""What a dask worker does with a case: it works where the command was called, and gives back what it logs."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler
from typing import Any

from .errors import reason_of

PACKAGE = __name__.partition(".")[0]


def work_there(
    worker: Callable[[Any, Callable[[str], None]], Any], argument: Any, folder: str, remedy: str, level: int
) -> tuple[str | None, Any, list[logging.LogRecord]]:
    """Work on a case, on a dask worker.

    Args:
        worker: see ``bulk.run_jobs``.
        argument: its case.
        folder: where the command was called: a user's paths may be relative.
        remedy: what a user can give where the memory isn't enough.
        level: from which on what is logged is given back.

    Returns:
        Why it failed, or None; what the worker returned; and what it logged.
    """
    from .bulk import attempt

    try:
        os.chdir(folder)
    except OSError as error:
        return f"its worker has no folder {folder} ({reason_of(error)}); give paths that all machines have", None, []
    with _recorded(level) as records:
        failure, result = attempt(worker, argument, lambda step: None, remedy)
    return failure, result, records


@contextmanager
def _recorded(level: int) -> Iterator[list[logging.LogRecord]]:
    """What this thread logs in the block, as records that can be sent."""
    logger = logging.getLogger(PACKAGE)
    before = logger.level
    recorder = _Recorder()
    logger.addHandler(recorder)
    logger.setLevel(level)
    try:
        yield recorder.records
    finally:
        logger.removeHandler(recorder)
        logger.setLevel(before)


class _Recorder(QueueHandler):
    """Keeps the records of the thread that made it: a worker with several works on other cases beside it."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []
        super().__init__(self.records)  # type: ignore[arg-type]
        self._thread = threading.get_ident()

    def enqueue(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.records.append(record)
