"""Records of what a file was made from, so that it is only made again when that has changed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import sha256_of, to_json, write_text
from ..volumes.volume_files import files_of_volume

logger = logging.getLogger(__name__)

NOTES = ".made_from.json"


class Provenance:
    """Notes of a folder's files: what each was made from (path, size, time of change), how, and its own digest.

    Args:
        folder: the folder of the files; the records are a hidden file in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._notes: dict[str, Any] = _read(folder / NOTES)

    def is_current(self, file: Path, sources: Sequence[Path], **choices: str) -> bool:
        """Whether the file is there, whole, and what it was made from and with which choices hasn't changed since.

        A file that was cut, damaged or replaced is named in a warning: it is made again.
        """
        note = self._notes.get(file.name)
        if not isinstance(note, dict) or not file.is_file() or note.get("made_from") != _origin(sources, choices):
            return False
        if note.get("sha256") == _digest(file):
            return True
        logger.warning("%s: isn't the file that was written here, it was cut or changed; it is made again", file)
        return False

    def add(self, file: Path, sources: Sequence[Path], **choices: str) -> None:
        """Record that a file was just made."""
        self._notes[file.name] = {"made_from": _origin(sources, choices), "sha256": _digest(file)}
        write_text(to_json(self._notes), self.folder / NOTES)


def _read(path: Path) -> dict[str, Any]:
    """The notes; none where there is no file, and where it can't be read, which is said: everything is made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return content
    logger.warning("%s: is damaged, so the files beside it are made again", path)
    return {}


def _origin(sources: Sequence[Path], choices: Mapping[str, str]) -> list[Any]:
    """The choices, and path, size and time of change of each source and of the files that belong to it.

    Raises:
        InputError: if one can't be looked at.
    """
    found: list[Any] = [dict(choices)]
    for path in sources:
        try:
            states = [(file, file.stat()) for file in files_of_volume(path)]
        except OSError as error:
            raise InputError(f"{path}: can't be read ({error.strerror or error}); check the path") from error
        found += [[str(file.resolve()), state.st_size, state.st_mtime_ns] for file, state in states]
    return found


def _digest(file: Path) -> str | None:
    """None where the file can't be read."""
    try:
        return sha256_of(file)
    except OSError:
        return None
