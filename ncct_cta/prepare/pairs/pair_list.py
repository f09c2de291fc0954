"""``pairs.csv``: which NCCT belongs to which CTA, as ``prepare scan`` proposes it or a user writes it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ...common.errors import InputError
from ...dicom.headers import read_header
from ...dicom.pseudonyms import KEY_FILE, KeyTable
from ...dicom.series import Inventory, find_series
from ..scan_source import ScanSource

REQUIRED = CASE, NCCT, CTA = ("case", "ncct", "cta")
PATIENT, STATUS, WHY, ACCEPT = "patient", "status", "why", "accept"
USED = ("ok", "")  # status of a pair to prepare
YES, NO = ("yes", "true", "1", "x"), ("no", "false", "0", "")
CASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Pair:
    """A row of the list.

    Args:
        case: names the output files.
        patient: all pairs of a patient go into the same split.
        ncct: as given in the row: a series' pseudonym or a path.
        cta: likewise.
        accepted: include the pair in the case list even if quality control flags it.
    """

    case: str
    patient: str
    ncct: str
    cta: str
    accepted: bool = False


@dataclass(frozen=True)
class PairList:
    """The pairs to prepare, and the others.

    Args:
        pairs: to prepare.
        unused: by the case's name, status and remark of each unused row.
        folder: base of relative paths.
    """

    pairs: tuple[Pair, ...]
    unused: tuple[tuple[str, str], ...]
    folder: Path


def read_pairs(path: Path, accept: Sequence[str] = ()) -> PairList:
    """Read the list.

    Args:
        path: a CSV file with the columns case, ncct and cta, and optionally patient (by default the case), status
            (rows other than ok are not used), why, and accept (yes or no).
        accept: cases to accept in addition to those accepted in the list.

    Raises:
        InputError: if it can't be read, lacks a column, lists a case twice, or has a case name that can't be used in a
            file name.
    """
    rows = _rows(path)
    used = [row for row in rows if row[STATUS].lower() in USED]
    pairs = [_pair(path, row, accept) for row in used]
    names = [pair.case for pair in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: the case {twice[0]} stands twice; give every pair a name of its own")
    unknown = sorted(set(accept) - set(names))
    if unknown:
        raise InputError(
            f"--accept {unknown[0]}: {path} has no such case with the status ok; expected one of its names"
        )
    unused = tuple((row[CASE], row[WHY] or row[STATUS]) for row in rows if row not in used)
    if not pairs:
        raise InputError(
            f"{path}: none of its {len(rows)} rows has the status ok; choose the pairs, and set their status to ok"
        )
    return PairList(tuple(pairs), unused, path.parent)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with io.StringIO(_text(path), newline="") as file:
            # Spreadsheet programs write semicolons in some locales.
            separator = ";" if ";" in file.readline() else ","
            file.seek(0)
            reader = csv.DictReader(file, delimiter=separator, restval="")
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(
                    f"{path}: has no column {missing[0]}, expected {', '.join(REQUIRED)}; python -m ncct_cta.prepare "
                    "scan writes such a list"
                )
            rows = [
                {key: (value or "").strip() for key, value in row.items() if isinstance(key, str)} for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: can't be read as a CSV file ({reason}); check the path, or save it as CSV UTF-8"
        ) from error
    optional = dict.fromkeys((PATIENT, STATUS, WHY, ACCEPT), "")
    return [{**optional, **row} for row in rows if any(row.values())]


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")  # the encoding in which Excel saves "CSV" in western locales


def _pair(path: Path, row: Mapping[str, str], accept: Sequence[str]) -> Pair:
    name = row[CASE]
    if not CASE_NAME.fullmatch(name):
        raise InputError(f"{path}: the case {name!r} can't name files; expected letters, digits, dots, - and _")
    for column in (NCCT, CTA):
        if not row[column]:
            raise InputError(f"{path}: case {name} has no {column}; give a series of keys.csv or a path")
    answer = row[ACCEPT].lower()
    if answer not in YES + NO:
        raise InputError(f"{path}: case {name}: accept is {row[ACCEPT]!r}, expected yes or no")
    return Pair(name, row[PATIENT] or name, row[NCCT], row[CTA], answer in YES or name in accept)


class ScanFinder:
    """Find the scans of a list: existing paths, otherwise series of the key table next to the list.

    Args:
        folder: folder of the list.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys = KeyTable.read(folder / KEY_FILE) if (folder / KEY_FILE).exists() else None
        # Headers take minutes to read: a file's once, though folders are named again and lie in one another.
        self._read_header = cache(read_header)
        self._inventories: dict[Path, Inventory] = {}

    def find(self, given: str, *, case: str, kind: str) -> ScanSource:
        """The scan that a row gives, with its DICOM series if it is one.

        Args:
            given: a path or a series' pseudonym.
            case: for the label and the error.
            kind: ncct or cta, likewise.

        Raises:
            InputError: if it is neither, or if the folder doesn't hold that series.
        """
        source = self._locate(given, case, kind)
        if not source.path.is_dir():
            return source
        folder = source.path.absolute()
        try:
            if folder not in self._inventories:
                self._inventories[folder] = find_series(folder, read=self._read_header)
            return replace(source, series=self._inventories[folder].choose(source.key))
        except InputError as error:
            raise InputError(source.hide(str(error))) from None

    def _locate(self, given: str, case: str, kind: str) -> ScanSource:
        path = self.folder / given  # an absolute path stays itself
        if path.exists():
            return ScanSource(path, None, f"{case} {kind}")
        if self._keys is None or not re.fullmatch(r"s[0-9a-f]+", given):
            raise InputError(
                f"{case} {kind}: what the list gives is neither a file or folder nor a series of {KEY_FILE} beside it; "
                "correct the path (relative ones count from the list's folder)"
            )
        path, key = self._keys.source_of(given)
        return ScanSource(path, key, given)
