"""Finds the DICOM files of a folder, whatever their names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import InputError
from ..common.progress import progress_bar
from .headers import DamagedFileError, DicomFile, read_header


@dataclass(frozen=True)
class FoundFiles:
    """The files of a folder, by kind.

    Args:
        dicom: the DICOM files in the order of their paths.
        damaged: files that are empty, can't be read, or start like DICOM but have an incomplete header.
        others: number of files that aren't DICOM.
    """

    dicom: tuple[DicomFile, ...]
    damaged: tuple[Path, ...]
    others: int


def dicom_files(
    folder: str | Path, *, progress: bool = False, read: Callable[[Path], DicomFile | None] | None = None
) -> FoundFiles:
    """Read the header of every DICOM file in a folder and below it, whatever the files' names.

    Args:
        folder: a folder, or one DICOM file.
        progress: show a progress bar.
        read: what reads a header, by default ``read_header``; one that remembers (``functools.cache``) serves folders
            that lie in one another.

    Raises:
        InputError: if the folder is missing or can't be read.
    """
    read = read or read_header
    dicom, damaged, others = [], [], 0
    for path in progress_bar(list(files_below(Path(folder))), desc="files", unit="file", shown=progress):
        try:
            file = read(path)
        except DamagedFileError:
            damaged.append(path)
            continue
        if file is None:
            others += 1
        else:
            dicom.append(file)
    return FoundFiles(tuple(dicom), tuple(damaged), others)


def files_below(folder: Path) -> Iterator[Path]:
    """Return all files in and below a folder, sorted by name, without hidden ones; or the file itself.

    Links to folders are followed, and each folder is visited once.

    Raises:
        InputError: if the folder is missing or can't be read.
    """
    if folder.is_file():
        yield folder
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; check the path")

    def refuse(error: OSError) -> None:
        raise InputError(f"a folder can't be read ({error.strerror}); check its permissions") from error

    seen: set[str] = set()
    for directory, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (place := os.path.realpath(directory)) in seen:
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        yield from (Path(directory, name) for name in sorted(names) if not name.startswith("."))
