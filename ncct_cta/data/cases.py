"""Which files belong to which case, and which case to which split."""

from __future__ import annotations

import difflib
import json
import os
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.names import require_file_name, shortened
from ..dicom.series import Series
from ..volumes.nifti import case_name, nifti_suffix

SPLITS = ("training", "validation", "testing")
ALL_SPLITS = "all"
DATALIST = "datalist.json"
KINDS = ("ncct", "cta", "lung", "vessel")
# MONAI's own names for an entry's two files.
ALIASES = {"image": "ncct", "label": "cta"}
CASE_FILE = re.compile(rf"(?P<case>.+)_(?P<kind>{'|'.join(KINDS)})\.nii(\.gz)?", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """The files of one patient's scan, all on one grid.

    Args:
        name: unique; outputs are named after it.
        ncct: the non-contrast CT.
        cta: the angiography that training and evaluation compare with.
        lung: a lung mask.
        vessel: a vessel mask.
        series: where ``ncct`` is a DICOM folder, which series of it.
    """

    name: str
    ncct: Path
    cta: Path | None = None
    lung: Path | None = None
    vessel: Path | None = None
    series: Series | None = None


def read_case_list(source: str | Path, *, val_fraction: float = 0.15, seed: int = 0) -> dict[str, list[Case]]:
    """Read the cases of every split.

    Args:
        source: a datalist in MONAI's form (``{"training": [{"ncct": ..., "cta": ...}, ...], ...}``, paths relative
            to it), a folder that holds a ``datalist.json``, or a folder of ``{case}_{ncct,cta,lung,vessel}.nii.gz``.
        val_fraction: the part of a folder's pairs that becomes validation, at least one of two or more unless 0.
        seed: of the folder's split; the same names and seed give the same split on every machine.

    Returns:
        A list for every name in ``SPLITS``, which may be empty. Every case of training and validation has a CTA.

    Raises:
        InputError: if the source or a file it names is missing, or can't be understood, or a case stands in it twice.
    """
    source = Path(source)
    if os.path.isdir(source) and (source / DATALIST).exists():
        source = source / DATALIST
    if os.path.isdir(source):  # which takes names that are too long, too
        return _split(_cases_of_folder(source), val_fraction, seed)
    return read_datalist(source, required=KINDS)


def _cases_of_folder(folder: Path) -> list[Case]:
    found: dict[str, dict[str, Any]] = {}  # the paths of each case by kind
    for path in nifti_files(folder):
        match = CASE_FILE.fullmatch(path.name)
        if match is None:
            continue
        files, kind = found.setdefault(match["case"], {}), match["kind"].lower()
        if kind in files:
            raise InputError(f"case {match['case']}: {files[kind]} and {path} are both its {kind}; keep one")
        files[kind] = path
    if not found:
        raise InputError(
            f"{folder}: holds no case, expected {DATALIST} or files named {{case}}_ncct.nii.gz and {{case}}_cta.nii.gz"
        )
    for name, files in found.items():
        require_file_name(name, f"{folder}: the case")
        if "ncct" not in files:
            raise InputError(f"case {name}: {folder} holds its {', '.join(files)}, but no {name}_ncct.nii.gz; add it")
    return [Case(name, **files) for name, files in sorted(found.items())]


def _split(cases: list[Case], val_fraction: float, seed: int) -> dict[str, list[Case]]:
    if not 0 <= val_fraction < 1:
        raise InputError(f"val_fraction is {val_fraction}, expected 0 <= val_fraction < 1")
    pairs = [case for case in cases if case.cta is not None]
    random.Random(seed).shuffle(pairs)
    n_val = 0
    if val_fraction > 0 and len(pairs) >= 2:
        n_val = min(max(1, round(val_fraction * len(pairs))), len(pairs) - 1)
    return {
        "training": sorted(pairs[n_val:], key=lambda case: case.name),
        "validation": sorted(pairs[:n_val], key=lambda case: case.name),
        "testing": [case for case in cases if case.cta is None],
    }


def read_datalist(path: Path, required: Iterable[str]) -> dict[str, list[Case]]:
    """All splits of a datalist; only the files whose kind is in ``required`` must exist.

    Raises:
        InputError: if it can't be understood or a file is missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file or folder; check the path") from error
    except OSError as error:
        raise InputError(f"{shortened(path)}: can't be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:  # both a JSON and a Unicode error are ValueErrors
        raise InputError(f"{path}: expected a folder or a datalist, but this is no valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: is a {type(content).__name__}, expected an object with the keys {_listed(SPLITS)}")
    for key, value in content.items():
        # Other keys with plain values are MONAI's metadata (name, modality, ...); a list can only be meant as a split.
        if key not in SPLITS and isinstance(value, list):
            raise InputError(f"{path}: unknown split {key!r}; {expected(key, SPLITS)}")
    splits = {split: _read_split(path, split, content.get(split, []), required) for split in SPLITS}
    if not any(splits.values()):
        raise InputError(f"{path}: names no case, expected entries under {_listed(SPLITS)}")
    require_unique(splits)
    return splits


def _read_split(path: Path, split: str, entries: Any, required: Iterable[str]) -> list[Case]:
    if not isinstance(entries, list):
        raise InputError(f"{path}: {split} is a {type(entries).__name__}, expected a list of cases")
    cases = [_read_entry(path, f"{split}[{i}]", entry) for i, entry in enumerate(entries)]
    for case in cases:
        if split != "testing" and "cta" in required and case.cta is None:
            raise InputError(f"{path}: case {case.name} of {split} has no cta; add it, or move the case to testing")
        for kind in required:
            file = getattr(case, kind)
            if file is not None and not os.path.isfile(file):
                raise InputError(f"{path}: case {case.name} of {split}: its {kind} {shortened(file)} does not exist")
    return cases


def _read_entry(path: Path, where: str, entry: Any) -> Case:
    entry = {"ncct": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict):
        raise InputError(f"{path}: {where} is a {type(entry).__name__}, expected an object with ncct and cta")
    files: dict[str, Any] = {}  # paths by kind
    for key, value in entry.items():
        kind = ALIASES.get(key, key)
        if kind not in KINDS:
            _reject_misspelling(path, where, key)
            continue
        if value is None:
            continue
        if not isinstance(value, str):
            raise InputError(f"{path}: {where}: {key} is a {type(value).__name__}, expected the path of one file")
        if kind in files:
            raise InputError(f"{path}: {where} gives its {kind} twice, the second time as {key!r}; keep one")
        files[kind] = path.parent / value  # an absolute path stays itself
    if "ncct" not in files:
        raise InputError(f"{path}: {where} has no ncct, expected the path of the non-contrast CT")
    name = str(entry.get("case", case_name(files["ncct"])))
    require_file_name(name, f"{path}: {where}: the case")
    return Case(name, **files)


def _reject_misspelling(path: Path, where: str, key: str) -> None:
    known = ("case", *KINDS, *ALIASES)
    if key not in known and difflib.get_close_matches(key, known, cutoff=0.75):
        raise InputError(f"{path}: {where} has the unknown key {key!r}; {expected(key, known)}")


def require_unique(splits: Mapping[str, list[Case]]) -> None:
    """No case name and no NCCT may come twice: it would leak between splits or overwrite an output.

    Raises:
        InputError: if one does.
    """
    names: dict[str, tuple[str, Case]] = {}
    files: dict[Path, tuple[str, Case]] = {}
    for split, cases in splits.items():
        for case in cases:
            if case.name in names:
                other_split, other = names[case.name]
                raise InputError(
                    f"case {case.name} stands twice: {other.ncct} ({other_split}) and {case.ncct} ({split}); "
                    "give each scan one name and one split"
                )
            resolved = case.ncct.resolve()
            if resolved in files:
                other_split, other = files[resolved]
                raise InputError(
                    f"{case.ncct} stands twice: as {other.name} ({other_split}) and {case.name} ({split}); keep one"
                )
            names[case.name] = files[resolved] = (split, case)


def nifti_files(folder: Path) -> list[Path]:
    """The NIfTI files of a folder in the order of their names, but hidden ones.

    Raises:
        InputError: if it can't be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if nifti_suffix(p) and not p.name.startswith(".") and p.is_file())
    except OSError as error:
        raise InputError(f"{folder}: can't be read ({error.strerror}); check its permissions") from error


def expected(given: str, names: Iterable[str]) -> str:
    """What an error says after a name that is none of these: the nearest, or all."""
    names = tuple(names)
    nearest = difflib.get_close_matches(given, names, n=1, cutoff=0.4)
    return f"did you mean {nearest[0]!r}?" if nearest else f"expected {_listed(names)}"


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}"
