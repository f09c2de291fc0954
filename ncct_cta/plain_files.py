"""Plain data as JSON, and text files that appear whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from .errors import InputError


def to_json(content: object) -> str:
    """Plain data as JSON; NaN and infinity, which JSON doesn't know, become null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def write_text(text: str, path: Path) -> None:
    """Write beside and rename.

    Raises:
        InputError: if the file can't be written.
    """
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_text(text, encoding="utf-8", newline="")
        beside.replace(path)
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror or error}); choose another folder") from error


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
