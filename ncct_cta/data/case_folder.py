"""The cases of a folder without a datalist: one file per image, or one folder per case."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ..common.errors import InputError, reason_of
from ..common.names import require_file_name
from ..volumes.nifti import nifti_suffix
from .cases import DATALIST, KINDS, Case, shown_path

# p1_ncct.nii.gz; or NCCT.nii.gz, in a folder of the case's.
CASE_FILE = re.compile(rf"(?:(?P<case>.+)_)?(?P<kind>{'|'.join(KINDS)})\.(?:nii|img)(\.gz)?", re.IGNORECASE)


def cases_of_folder(folder: Path) -> list[Case]:
    """The cases of a folder, in the order of their names.

    Their files are called ``{case}_ncct.nii.gz``, ``{case}_cta.nii.gz``, ``{case}_lung.nii.gz``,
    ``{case}_vessel.nii.gz`` and ``{case}_ignore.nii.gz``; or each case has a folder in it with such files, or with
    ``NCCT.nii.gz``, ``CTA.nii.gz`` and so on, and then the folder's name.

    Raises:
        InputError: if it can't be read, holds no case, or a case has no NCCT or two files of one kind.
    """
    found = _files_by_case(folder)
    if not found:
        found = _files_by_case(*_folders_in(folder))
    if not found:
        raise InputError(
            f"{shown_path(folder)}: holds no case, expected {DATALIST}, files named {{case}}_ncct.nii.gz and "
            "{case}_cta.nii.gz, or a folder per case; python -m ncct_cta.prepare scan lists what else it holds"
        )
    for name, files in found.items():
        require_file_name(name, f"{shown_path(folder)}: the case")
        if "ncct" not in files:
            holder = next(iter(files.values())).parent
            raise InputError(f"case {name}: {holder} holds its {', '.join(files)}, but no NCCT; add {name}_ncct.nii.gz")
    return [
        Case(name, files["ncct"], **{kind: files.get(kind) for kind in KINDS if kind != "ncct"})  # type: ignore[arg-type]
        for name, files in sorted(found.items())
    ]


def _files_by_case(*folders: Path) -> dict[str, dict[str, Path]]:
    """The paths of each case by kind; cases of one name in several folders are told apart by both names."""
    found: dict[tuple[str, Path], dict[str, Path]] = {}
    for path in (path for folder in folders for path in nifti_files(folder)):
        match = CASE_FILE.fullmatch(path.name)
        if match is None:
            continue
        name, kind = match["case"] or path.parent.name, match["kind"].lower()
        files = found.setdefault((name, path.parent), {})
        if kind in files:
            raise InputError(f"case {name}: {files[kind]} and {path} are both its {kind}; keep one")
        files[kind] = path
    times = Counter(name for name, _ in found)
    return {name if times[name] == 1 else f"{folder.name}_{name}": files for (name, folder), files in found.items()}


def _folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def nifti_files(folder: Path) -> list[Path]:
    """Return the NIfTI files of a folder, sorted by name, without hidden ones; see ``files_with``."""
    return files_with(nifti_suffix, folder)


def files_with(suffix_of: Callable[[Path], str], folder: Path) -> list[Path]:
    """Return the files of a folder whose names have a suffix of some kind, sorted by name, without hidden ones.

    A folder or a broken link of such a name is among them: reading says what is wrong with it.

    Raises:
        InputError: if it can't be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if suffix_of(p) and not p.name.startswith("."))
    except OSError as error:
        raise InputError(f"{shown_path(folder)}: can't be read ({reason_of(error)}); check its permissions") from error
