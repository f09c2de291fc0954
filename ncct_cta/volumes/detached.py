"""Where a NRRD or MetaImage header says that its voxels lie: a stranger's may name any file of the reader's machine."""

from __future__ import annotations

import glob
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from ..common.errors import InputError

META_SUFFIXES, NRRD_SUFFIXES = (".mha", ".mhd"), (".nrrd", ".nhdr")
MOST_HEADER_BYTES = 2**20  # a header has a few hundred; lists of files have more
META_FIELD = b"ElementDataFile"
META_VALUE = re.compile(rb"^[ \t]*ElementDataFile[ \t]*[=:][ \t]*([^\r\n]*)", re.MULTILINE)
NRRD_VALUE = re.compile(rb"data ?file: *([^\r\n]*)", re.IGNORECASE)
NRRD_END = re.compile(rb"\n\r?\n|\r\r")
LOCAL, LIST = ("LOCAL", "Local", "local"), "LIST"
RANGE = re.compile(r"(\s+-?\d+){1,4}$")  # of the numbers, behind a pattern
NUMBER = re.compile(r"%0?\d{0,2}d")  # in a pattern of names; ITK hands it to printf, which takes far more


def require_voxels_beside(path: Path) -> None:
    """Refuse a header whose voxels lie elsewhere than in its own file, or beside or below it.

    What it reads would else stand in the outputs: a list of an own slice and somebody's secret file is a volume too.

    Raises:
        InputError: if it names such a place, or several, or none that can be found.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(MOST_HEADER_BYTES)
        if path.suffix.lower() in META_SUFFIXES:
            places = META_VALUE.findall(head)
            clear = len(places) == 1 and _count(file.fileno(), META_FIELD) == 1
        else:
            places = NRRD_VALUE.findall(head)
            clear = size <= MOST_HEADER_BYTES or NRRD_END.search(head) is not None
    if not clear:
        raise InputError(f"{path}: its header doesn't say clearly where its voxels lie; save it again as one file")
    if not all(_lies_beside(name) for place in places for name in _names(place, head)):
        raise InputError(
            f"{path}: its header names a file outside its folder, expected the voxels beside it; put both in one "
            "folder, or save it as one file (.nrrd, .mha)"
        )


def voxel_files(path: Path) -> list[Path]:
    """The files beside or below a header that it names and that are there.

    Raises:
        OSError: if the header can't be read.
    """
    with open(path, "rb") as file:
        head = file.read(MOST_HEADER_BYTES)
    value = META_VALUE if path.suffix.lower() in META_SUFFIXES else NRRD_VALUE
    names = (name for place in value.findall(head) for name in _names(place, head) if _lies_beside(name))
    found: list[Path] = []
    for name in names:
        if NUMBER.search(name):
            found += sorted(path.parent.glob("*".join(map(glob.escape, NUMBER.split(RANGE.sub("", name))))))
        else:
            found.append(path.parent / name)
    return [file for file in found if file.is_file()]


def _count(handle: int, field: bytes) -> int:
    """How often a field stands in a file, counted up to 2: readers may take another one than the first."""
    with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as content:
        first = content.find(field)
        return 0 if first < 0 else 1 + (content.find(field, first + 1) >= 0)


def _names(place: bytes, head: bytes) -> Iterator[str]:
    """The files that a field names: none, one or a pattern, or those in the lines below it."""
    value = place.decode("utf-8", "replace").strip()
    if value in LOCAL:
        return
    if value.split()[:1] == [LIST]:
        below = head[head.index(place) + len(place) :].decode("utf-8", "replace")
        yield from filter(None, map(str.strip, re.split(r"[\r\n]", below)))
    else:
        yield value


def _lies_beside(name: str) -> bool:
    plain = NUMBER.sub("0", name)
    parts = re.split(r"[/\\]", plain)
    return bool(parts[0]) and ".." not in parts and not re.search("[%:]", plain)
