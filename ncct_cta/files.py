"""Files that appear whole or not at all, written beside and then renamed; and plain data as JSON."""

from __future__ import annotations

import contextlib
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
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


def write_text(text: str, path: Path) -> None:
    """Write a text file, UTF-8 with the line ends it has; raises as ``written_whole`` does."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def to_json(content: object) -> str:
    """Plain data as JSON; NaN and infinity, which JSON doesn't know, become null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
