"""CSV tables that appear whole or not at all."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..files import written_whole

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
    with written_whole(path, path.suffix) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
            file.write(table_text(rows, columns))
