"""Files that appear whole or not at all: written beside, then renamed."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError


@contextlib.contextmanager
def written_whole(path: Path, suffix: str = "") -> Iterator[Path]:
    """A free name beside ``path``, for a file that is then renamed to it.

    Args:
        path: what the file is called in the end; its folder is made.
        suffix: how the free name ends.

    Raises:
        InputError: if the folder can't be made, or the file not be written or renamed.
    """
    # A leading dot keeps it out of folder listings (and out of cases.py) should the process be killed.
    temporary = path.with_name(f".{uuid.uuid4().hex}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror or error}); choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
