"""CSV tables that appear whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import InputError

ANYONE, OWNER_ONLY = 0o666, 0o600  # before the umask


def table_text(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Rows under a heading, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_table(
    path: Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str], *, mode: int = ANYONE
) -> None:
    """Write a CSV file: beside, then renamed.

    Args:
        path: its folder is made.
        rows: a value for every column.
        columns: the heading.
        mode: who may read it, from its first byte on.

    Raises:
        InputError: if it can't be written.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.csv")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
            file.write(table_text(rows, columns))
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror or error}); choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
