"""Atomic writing (to a temporary file next to the target, then renamed), and plain data as JSON and CSV."""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import json
import math
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .errors import InputError, reason_of

ANYONE, OWNER_ONLY = 0o666, 0o600  # before the umask
HASH_BLOCK_BYTES = 2**20
TEMPORARY = re.compile(r"\.tmp-([0-9a-f]{8})-(\d{1,10})-[0-9a-f]{32}.*")
STALE_SECONDS = 24 * 3600  # older than any file is in the making
FORMULA = re.compile(r"\s*[=+@\-\t\r]")
NUMBER = re.compile(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?|[+-]?inf")


@contextlib.contextmanager
def written_whole(path: Path, suffix: str = "") -> Iterator[Path]:
    """A free name beside ``path``, for a file that is then renamed to it once it is whole and on disk.

    Args:
        path: the final path; its folder is created.
        suffix: ending of the temporary name.

    Raises:
        InputError: if the folder can't be created, or the file can't be written or renamed.
    """
    temporary = temporary_beside(path, suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        yield temporary
        to_disk(temporary)
        os.replace(temporary, path)
        to_disk(path.parent)
    except OSError as error:
        raise InputError(f"{path}: can't be written ({reason_of(error)}); choose another folder") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def temporary_beside(path: Path, suffix: str = "") -> Path:
    """A free, hidden name beside ``path`` that says which process made it; see ``remove_leftovers``."""
    # The leading dot keeps it out of folder listings (and out of cases.py) should the process be killed.
    return path.with_name(f".tmp-{_machine()}-{os.getpid()}-{uuid.uuid4().hex}{suffix}")


@functools.lru_cache(maxsize=1000)
def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder; once a process and folder is enough."""
    for leftover in folder.glob(".tmp-*"):
        made_by = TEMPORARY.fullmatch(leftover.name)
        if made_by and not _may_be_in_the_making(leftover, *made_by.groups()):
            with contextlib.suppress(OSError):  # another process removed it first
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _may_be_in_the_making(leftover: Path, machine: str, process: str) -> bool:
    try:
        if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
            return False
        if machine == _machine() and os.name == "posix":  # elsewhere signal 0 would be a signal
            os.kill(int(process), 0)
    except (ProcessLookupError, FileNotFoundError, OverflowError):
        return False
    except OSError:  # another user's process
        pass
    return True


@functools.lru_cache(maxsize=1)
def _machine() -> str:
    """Eight letters for this machine, whose processes alone can be asked whether they live."""
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()


def to_disk(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on the disk: a power cut then can't undo them."""
    is_folder = path.is_dir()
    with contextlib.suppress(OSError) if is_folder else contextlib.nullcontext():  # some systems can't for folders
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


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
    """Write a text file in UTF-8 with its line endings unchanged; raises like ``written_whole``."""
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
    """Write a CSV file atomically.

    Args:
        path: the file; its folder is created.
        rows: a value for every column.
        columns: the header.
        mode: permissions, set before the first byte is written.

    Raises:
        InputError: if it can't be written.
    """
    with written_whole(path, path.suffix) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w", newline="", encoding="utf-8") as file:
            file.write(table_text(rows, columns))


def to_json(content: object) -> str:
    """Return plain data as JSON; NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
