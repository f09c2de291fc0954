"""The images that are looked at: whose they are, what they are called, and that they lie on one grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..common.errors import InputError
from ..data.case_folder import files_with
from ..volumes.nifti import Volume, require_same_grid, scan_suffix
from ..volumes.reading import read_volume

# What files of a case are called, in the order in which they are shown: the scan first, what it is compared to last.
NAMES = {
    "ncct": "NCCT",
    "intermediate": "G2's input",
    "coarse": "G's CTA",
    "syncta": "synthetic CTA",
    "cta": "CTA",
}
KIND = re.compile(rf"(?:(?P<case>.+)_)?(?P<kind>{'|'.join(NAMES)})", re.IGNORECASE)
LISTED = 5


class Image(NamedTuple):
    """An image by the name that it is shown by."""

    name: str
    path: Path


def images_of(sources: Sequence[Path], case: str = "") -> tuple[str, list[Image]]:
    """The images of a case, and its name.

    Args:
        sources: one folder, or files.
        case: of a folder that holds several cases.

    Raises:
        InputError: if the folder holds none, or several of which none is chosen.
    """
    if len(sources) > 1 or not sources[0].is_dir():
        if case:
            raise InputError(f"--case {case}: {sources[0]} is a file, expected a folder of cases; leave --case out")
        return stem(sources[0]), [Image(stem(path), path) for path in sources]
    (folder,) = sources
    cases: dict[str, dict[str, Path]] = {}
    for path in files_with(scan_suffix, folder):
        found = KIND.fullmatch(stem(path))
        if found is not None:
            cases.setdefault(found["case"] or folder.resolve().name, {})[found["kind"].lower()] = path
    names = ", ".join(list(cases)[:LISTED]) + (", ..." if len(cases) > LISTED else "")
    if case and case not in cases:
        raise InputError(f"{folder}: holds no case {case}, expected one of {names or 'them'}")
    if not case and len(cases) != 1:
        remedy = "choose one by --case" if cases else "give the files: ncct-cta view SCAN SYNTHETIC"
        raise InputError(f"{folder}: holds {len(cases)} cases{f' ({names})' if cases else ''}, expected one; {remedy}")
    name = case or next(iter(cases))
    return name, [Image(shown, cases[name][kind]) for kind, shown in NAMES.items() if kind in cases[name]]


def read_images(images: Sequence[Image]) -> list[Volume]:
    """Read images, which lie on one grid.

    Raises:
        InputError: if one can't be read, or lies elsewhere.
    """
    volumes = [read_volume(image.path) for image in images]
    for image, volume in zip(images[1:], volumes[1:], strict=True):
        require_same_grid(volumes[0], volume, names=(images[0].name, image.name))
    return volumes


def stem(path: Path) -> str:
    """A file's name without the ending of a scan."""
    return path.name.removesuffix(scan_suffix(path))
