"""Files that appear whole or not at all, written beside and then renamed; and plain data as JSON and CSV."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .errors import InputError

ANYONE, OWNER_ONLY = 0o666, 0o600  # before the umask
HASH_BLOCK_BYTES = 2**20
FORMULA = re.compile(r"\s*[=+@\-\t\r]")
NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?|[+-]?inf")


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


def drop_link(path: Path) -> None:
    """Remove a link of this name: a run's folder may be a stranger's, and what is written goes where a link points.

    What is renamed to its place (``written_whole``) needs no such care: that replaces a link.
    """
    if path.is_symlink():
        path.unlink()


def sha256_of(*paths: Path) -> str:
    """The SHA-256 of files' bytes, one after the other; of one file it is what ``sha256sum`` prints."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def write_text(text: str, path: Path) -> None:
    """Write a text file, UTF-8 with the line ends it has; raises as ``written_whole`` does."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def table_text(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Rows under a heading, as CSV, in which a spreadsheet finds no formula."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: no_formula(cell) for name, cell in row.items()} for row in rows)
    return text.getvalue()


def no_formula(cell: object) -> object:
    """A cell that spreadsheets take as text: what starts like a formula gets an apostrophe in front; numbers don't.

    >>> no_formula("=1+1"), no_formula("-0.5"), no_formula("p17")
    ("'=1+1", '-0.5', 'p17')
    """
    return f"'{cell}" if isinstance(cell, str) and _starts_a_formula(cell) else cell


def without_apostrophe(cell: str) -> str:
    """Undo ``no_formula``."""
    return cell[1:] if cell.startswith("'") and _starts_a_formula(cell[1:]) else cell


def _starts_a_formula(cell: str) -> bool:
    # Apostrophes before it too: else one that was there could not be told from one that was added.
    start = cell.lstrip("'")
    return FORMULA.match(start) is not None and NUMBER.fullmatch(start) is None


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


def to_json(content: object) -> str:
    """Plain data as JSON; NaN and infinity, which JSON doesn't know, become null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
