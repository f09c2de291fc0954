"""A datalist in MONAI's form: which files belong to which case, and which case to which split."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..common.errors import InputError, reason_of
from ..common.names import require_file_name
from ..volumes.nifti import case_name
from .cases import KINDS, SPLITS, Case, expected, listed, require_unique, shown, shown_path

# MONAI's own names for an entry's two files.
ALIASES = {"image": "ncct", "label": "cta"}
LONGEST_REASON = 100


def read_datalist(path: Path, required: Iterable[str]) -> dict[str, list[Case]]:
    """Read all splits of a datalist; only files whose kind is in ``required`` must exist.

    Raises:
        InputError: if it can't be understood or a file is missing.
    """
    content = _read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: is a {type(content).__name__}, expected an object with the keys {listed(SPLITS)}")
    for key, value in content.items():
        # Other keys with plain values are MONAI's metadata (name, modality, ...); a list must be meant as a split.
        if key not in SPLITS and isinstance(value, list):
            raise InputError(f"{path}: unknown split {shown(key)}; {expected(key, SPLITS)}")
    splits = {split: _read_split(path, split, content.get(split, []), required) for split in SPLITS}
    if not any(splits.values()):
        raise InputError(f"{path}: names no case, expected entries under {listed(SPLITS)}")
    require_unique(splits)
    return splits


def _read_json(path: Path) -> Any:
    name = shown_path(path)
    try:
        if path.exists() and not path.is_file():  # a device or a pipe never ends
            raise InputError(f"{name}: not a regular file, expected a datalist; check the path")
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_each_once)
    except FileNotFoundError as error:
        raise InputError(f"{name}: there is no such file or folder; check the path") from error
    except OSError as error:
        raise InputError(f"{name}: can't be read ({reason_of(error)}); check the path and permissions") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{name}: not UTF-8 text (byte {error.start}), expected a datalist; save it as UTF-8"
        ) from error
    except RecursionError as error:
        raise InputError(f"{name}: nested too deeply for a datalist; expected lists of cases") from error
    except _GivenTwiceError as error:
        raise InputError(f"{name}: gives {error} twice in one place, expected each name once; keep one") from error
    except ValueError as error:  # no JSON, a number of too many digits, or a path with NUL
        reason = str(error)[:LONGEST_REASON]
        raise InputError(f"{name}: expected a folder or a datalist, but this is no valid JSON ({reason})") from error


class _GivenTwiceError(ValueError):
    """A name stands twice in an object, where JSON's readers would drop the first value without a word."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise _GivenTwiceError(next(shown(name) for name in names if names.count(name) > 1))
    return content


def _read_split(path: Path, split: str, entries: Any, required: Iterable[str]) -> list[Case]:
    if not isinstance(entries, list):
        raise InputError(f"{path}: {split} is a {type(entries).__name__}, expected a list of cases")
    cases = [_read_entry(path, f"{split}[{i}]", entry) for i, entry in enumerate(entries)]
    for case in cases:
        if split != "testing" and "cta" in required and case.cta is None:
            raise InputError(f"{path}: case {case.name} of {split} has no cta; add it, or move the case to testing")
        for kind in required:
            file = getattr(case, kind)
            if file is not None and not _is_there(file):
                raise InputError(f"{path}: case {case.name} of {split}: its {kind} {shown_path(file)} does not exist")
    return cases


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError as error:  # a name that is too long, or a folder on the way that may not be read
        reason = reason_of(error)
        raise InputError(f"{shown_path(file)}: can't be read ({reason}); check the path and permissions") from error


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
    name = entry.get("case")
    if name is None:
        name = case_name(files["ncct"])
    if isinstance(name, bool) or not isinstance(name, str | int | float):
        raise InputError(f"{path}: {where}: case is a {type(name).__name__}, expected a name")
    name = str(name)
    require_file_name(name, f"{path}: {where}: the case")
    virtual = entry.get("virtual", False)
    if not isinstance(virtual, bool):
        raise InputError(f"{path}: {where}: virtual is {shown(str(virtual))}, expected true or false")
    return Case(name, **files, virtual=virtual)


def _reject_misspelling(path: Path, where: str, key: str) -> None:
    known = ("case", "virtual", *KINDS, *ALIASES)
    if key not in known and difflib.get_close_matches(key, known, cutoff=0.75):
        raise InputError(f"{path}: {where} has the unknown key {shown(key)}; {expected(key, known)}")
