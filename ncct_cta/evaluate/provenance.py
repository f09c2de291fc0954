"""What a file was made from, so that it is made again only when that has changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.files import to_json, write_text

NOTES = ".made_from.json"


class Provenance:
    """Notes of a folder's files: path, size and time of change of what each was made from, and of itself.

    Args:
        folder: where the files lie; the notes are a hidden file in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            content = json.loads((folder / NOTES).read_text())
        except (OSError, ValueError):  # no notes yet, or damaged ones: everything is made again
            content = {}
        self._notes: dict[str, Any] = content if isinstance(content, dict) else {}

    def is_current(self, file: Path, sources: Sequence[Path]) -> bool:
        """Whether the file is there and neither it nor what it was made from has changed since."""
        return file.is_file() and self._notes.get(file.name) == _note(file, sources)

    def add(self, file: Path, sources: Sequence[Path]) -> None:
        """Note that a file was just made."""
        self._notes[file.name] = _note(file, sources)
        write_text(to_json(self._notes), self.folder / NOTES)


def _note(file: Path, sources: Sequence[Path]) -> list[list[Any]]:
    stats = [(path, path.stat()) for path in (file, *sources)]
    return [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]
