"""``prepare scan``: list the contents of a folder and propose NCCT/CTA pairs for the user to edit."""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import count
from pathlib import Path

from ...common.errors import InputError
from ...common.files import table_text, write_table
from ...common.folders import writable_folder
from ...dicom.pseudonyms import KEY_FILE, KeyTable
from ...dicom.series import DAMAGED
from .findings import IGNORED, OK, Finding, Findings, find_scans
from .options import PAIRS_FILE, SERIES_FILE
from .proposals import CHOOSE, Proposal, propose

COLUMNS = 100
YES_NO = {True: "yes", False: "no", None: "-"}
# Heading and width of the terminal's columns; the remarks follow below the table.
TABLE = (
    ("patient", 10),
    ("series", 10),
    ("study", 5),
    ("slices", 6),
    ("spacing (mm)", 19),
    ("kernel", 9),
    ("tag", 3),
    ("blood HU", 8),
    ("contrast", 8),
    ("status", 6),
)


def run(options: argparse.Namespace) -> None:
    """Scan ``options.folder``, print the table and write the three files.

    Raises:
        InputError: if the folder can't be read, holds nothing to list, or the output can't be written.
    """
    # Nothing is created yet: a scan that finds nothing leaves nothing behind.
    writable_folder(next(place for place in (options.output, *options.output.absolute().parents) if place.exists()))
    key_file = options.output / KEY_FILE
    keys = KeyTable.read(options.keys) if options.keys else KeyTable.open(key_file)
    found = find_scans(options.folder, keys, leave_out=options.output)
    if not found.findings:
        damaged = f"; {DAMAGED}: {found.damaged_files}" * bool(found.damaged_files)
        raise InputError(
            f"{options.folder}: holds neither DICOM nor NIfTI, NRRD or MHA files, expected CT scans{damaged}"
        )
    proposals, unpaired = propose(found.findings)
    keys.write(key_file)
    rows = [_row(finding) for finding in found.findings]
    write_table(options.output / SERIES_FILE, rows, list(rows[0]))
    moved = _write_pairs(options.output / PAIRS_FILE, proposals)
    print("\n".join([*_table(found), "", *_summary(proposals, unpaired), "", *_files(options.output, moved)]))


def _write_pairs(path: Path, proposals: Sequence[Proposal]) -> Path | None:
    """Write the proposals; an existing file, which may have been edited, is moved aside. Return its new path.

    Raises:
        InputError: if it can't be moved, or the proposals can't be written.
    """
    rows = [asdict(proposal) for proposal in proposals]
    columns = [field.name for field in fields(Proposal)]
    moved = None
    try:
        # Compare bytes: spreadsheet programs save in all kinds of encodings.
        if path.exists() and path.read_bytes() != table_text(rows, columns).encode():
            aside = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(1))
            moved = path.rename(next(name for name in aside if not name.exists()))
    except OSError as error:
        raise InputError(
            f"{path}: can't be moved aside ({error.strerror or error}); close it where it is open, or choose another "
            "--output"
        ) from error
    write_table(path, rows, columns)
    return moved


def _row(finding: Finding) -> dict[str, str]:
    """Return a row of ``series.csv``, in which nothing identifies a patient."""
    return {
        "patient": finding.patient,
        "series": finding.series,
        "status": finding.status,
        "format": finding.format,
        "study": str(finding.study or ""),
        "series_number": finding.number,
        "slices": str(finding.slices or ""),
        "spacing_mm": _spacing(finding),
        "plane": finding.plane,
        "kernel": finding.kernel,
        "contrast_by_tag": "" if finding.tag is None else YES_NO[finding.tag],
        "blood_hu": "" if finding.blood is None else f"{finding.blood:.0f}",
        "contrast_by_hu": "" if finding.enhanced is None else YES_NO[finding.enhanced],
        "remark": finding.remark,
    }


def _spacing(finding: Finding) -> str:
    return " x ".join(f"{edge:.2f}" for edge in finding.spacing or ())


def _table(found: Findings) -> list[str]:
    listed = [finding for finding in found.findings if finding.status != IGNORED]
    lines = [_line([name for name, _ in TABLE])] if listed else []
    lines += [_line(_cells(finding)) for finding in listed]
    remarks = [f"{finding.series}: {finding.remark}" for finding in listed if finding.remark]
    ignored = Counter(finding.remark for finding in found.findings if finding.status == IGNORED)
    if ignored:
        remarks.append("ignored: " + ", ".join(f"{number} x {reason}" for reason, number in ignored.items()))
    if found.damaged_files:
        remarks.append(f"{DAMAGED}: {found.damaged_files}; export them again if they are images")
    if found.other_files:
        remarks.append(f"files that are neither DICOM nor NIfTI, NRRD or MHA: {found.other_files}")
    wrapped = [line for remark in remarks for line in textwrap.wrap(remark, COLUMNS, subsequent_indent="  ")]
    return [*lines, *([""] if lines and wrapped else []), *wrapped]


def _cells(finding: Finding) -> list[str]:
    blood = "-" if finding.blood is None else f"{finding.blood:.0f}"
    return [
        finding.patient,
        finding.series,
        str(finding.study or "-"),
        str(finding.slices or "-"),
        _spacing(finding) or "-",
        finding.kernel or "-",
        YES_NO[finding.tag],
        blood,
        YES_NO[finding.enhanced],
        finding.status,
    ]


def _line(cells: Sequence[str]) -> str:
    return " ".join(f"{cell[:width]:{width}}" for cell, (_, width) in zip(cells, TABLE, strict=True)).rstrip()


def _summary(proposals: Sequence[Proposal], unpaired: Sequence[str]) -> list[str]:
    counts = Counter(proposal.status for proposal in proposals)
    lines = [
        f"pairs ready: {counts[OK]}; candidates that wait for your choice (status {CHOOSE} -> {OK}): {counts[CHOOSE]}"
    ]
    return lines + [f"  {sentence}" for sentence in unpaired]


def _files(output: Path, moved: Path | None) -> list[str]:
    lines = [f"{output / SERIES_FILE}: all series and what was found in them"]
    lines.append(
        f"{output / PAIRS_FILE}: the pairs, for you to edit" + (f"; yours is now {moved.name}" if moved else "")
    )
    lines.append(
        f"{output / KEY_FILE}: the ONLY file with names, IDs and paths of patients, readable by you alone; keep it "
        "safe, don't share it"
    )
    return lines
