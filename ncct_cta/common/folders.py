"""Folders to write to: tried before hours of work, and kept by one process at a time."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import InputError, reason_of
from .names import shortened

logger = logging.getLogger(__name__)

# The workers of a killed process share its lock, and check for their parent every 5 seconds.
ORPHANS_SECONDS = 10


def writable_folder(folder: str | Path, remedy: str = "choose another --output") -> Path:
    """Create an output folder and check that it is writable, at the start rather than after hours of work.

    Raises:
        InputError: if it can't; the message ends with ``remedy``.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = f"the output folder {shortened(folder)} can't be written ({reason_of(error)})"
        raise InputError(f"{reason}; {remedy}") from error
    return Path(folder)


@contextlib.contextmanager
def locked_folder(folder: Path, remedy: str = "choose another --output") -> Iterator[None]:
    """Keep other processes out of an output folder; the system lifts the lock when this process ends, however it ends.

    On file systems without locks it has no effect.

    Raises:
        InputError: if another process holds it; the message ends with ``remedy``.
    """
    with contextlib.ExitStack() as holding:
        try:
            holding.enter_context(FileLock(folder / ".lock").acquire(timeout=ORPHANS_SECONDS))
        except Timeout:
            raise InputError(f"another process is writing to {folder}; wait until it ends, or {remedy}") from None
        except (NotImplementedError, OSError) as error:
            logger.debug("%s can't be locked: %s", folder, error)
        yield
