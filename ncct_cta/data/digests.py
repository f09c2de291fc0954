"""Digests of files' contents, remembered: a cohort's files are read once, and not at every start."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.errors import InputError, reason_of
from ..common.files import write_text

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 22
# A file that was changed as lately may change once more without its time of change showing it.
SETTLED_SECONDS = 3.0


class FileDigests:
    """The digests of files, kept in a JSON file beside what was made of them.

    A file counts as the same while its size, its number on the disk and the times of its last change are: every write
    moves the time of change (ctime), even one that sets the time of modification back.

    Args:
        path: the JSON file; one that is missing or damaged only costs time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, list[Any]] | None = None
        self._new: dict[str, list[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what is remembered: a worker that is sent this digests nothing."""
        return {"path": self.path, "_known": None, "_new": {}}

    def __call__(self, path: Path) -> bytes:
        """The digest of a file's bytes.

        Raises:
            InputError: if it can't be read.
        """
        try:
            name, state = os.path.abspath(path), _state(path)
            remembered = self._remembered(name, state)
            if remembered is not None:
                return remembered
            digest = content_digest(path)
            # Of a file that is still being written neither the digest nor the state is its last.
            if time.time_ns() - max(state[2:]) > SETTLED_SECONDS * 1e9 and _state(path) == state:
                self._new[name] = [*state, digest.hex()]
            return digest
        except OSError as error:
            raise InputError(
                f"{path}: can't be read ({reason_of(error)}); check the path and its permissions"
            ) from error

    @property
    def new(self) -> dict[str, list[Any]]:
        """What isn't saved yet, as plain data: for ``learn`` in the process that saves."""
        return dict(self._new)

    def learn(self, found: Mapping[str, list[Any]]) -> None:
        """Take over what another process has found."""
        self._new.update(found)

    def knows(self, path: Path) -> bool:
        """Whether the digest of a file is remembered, so that asking for it reads no content."""
        try:
            return self._remembered(os.path.abspath(path), _state(path)) is not None
        except OSError:
            return False

    def _remembered(self, name: str, state: list[int]) -> bytes | None:
        if self._known is None:
            self._known = self._read()
        found = self._new.get(name) or self._known.get(name)
        return bytes.fromhex(found[-1]) if found is not None and found[:-1] == state else None

    def save(self) -> None:
        """Remember what is new, beside what other processes have added; where that can't be written, nothing is."""
        if not self._new:
            return
        try:
            write_text(json.dumps(self._read() | self._new), self.path)
        except InputError as error:
            logger.debug("%s", error)
        self._known, self._new = None, {}

    def _read(self) -> dict[str, list[Any]]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return {
                str(name): [*map(int, entry[:-1]), bytes.fromhex(entry[-1]).hex()] for name, entry in content.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, IndexError, RecursionError):
            return {}


def _state(path: Path) -> list[int]:
    found = os.stat(path)
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def content_digest(path: Path) -> bytes:
    """A digest of a file's bytes; raises what reading it raises."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
