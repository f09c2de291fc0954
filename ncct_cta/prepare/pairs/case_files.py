"""A case's files: written whole or not at all, and known again by their record."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...common.errors import InputError
from ...common.files import to_json, write_text
from ...common.keys import CTA, NCCT
from ...volumes.nifti_write import write_like, write_mask_like
from ...volumes.orientation import spacing_to_ras, to_ras
from .prepared_pair import PreparedPair
from .qc_pictures import draw_pair
from .quality import AFTER, ALL_LIMITS, BEFORE, flags
from .task import Task

BYTES, MODIFIED, DIGEST = "bytes", "modified_ns", "blake2b"
CONTENT = ("case", "patient", "scores", "flags", "files")  # what a record must hold to be of use


def finished_record(task: Task) -> tuple[dict[str, Any] | None, str]:
    """The record of a case that is done with these settings and sources, its files as they were written.

    Returns:
        The record, or None if the case is to be prepared; and why, where it seemed to be done and isn't.
    """
    try:
        record = json.loads(task.record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError):
        return None, "its record can't be read"
    if not isinstance(record, dict) or not {*CONTENT} <= record.keys() or not isinstance(record["files"], dict):
        return None, "" if isinstance(record, dict) and "digest" in record else "its record can't be read"
    if record.get("digest") != task.digest():
        return None, ""
    changed = [path.name for path in task.files if path != task.record and not _is_as_written(path, record["files"])]
    return (None, f"{changed[0]} is missing or not as it was written") if changed else (record, "")


def _is_as_written(path: Path, states: dict[str, Any]) -> bool:
    """Whether a file is there as its record has it: of the same size, and of the same time or else content."""
    written = states.get(path.name)
    try:
        state = path.stat()
        if not isinstance(written, dict) or state.st_size != written.get(BYTES):
            return False
        return state.st_mtime_ns == written.get(MODIFIED) or _digest(path) == written.get(DIGEST)
    except OSError:
        return False


def _state_of(path: Path) -> dict[str, int | str]:
    state = path.stat()
    return {BYTES: state.st_size, MODIFIED: state.st_mtime_ns, DIGEST: _digest(path)}


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_case(task: Task, digest: str, prepared: PreparedPair) -> None:
    """Write a case's files to a temporary folder, then rename them, the record last.

    A process that is killed leaves a folder ``.{case}.partial``, which the next one replaces, and only whole files.

    Raises:
        InputError: if the folder can't be written.
    """
    beside = task.partial
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        task.record.parent.mkdir(exist_ok=True)
        _write_files(replace(task, output=beside), digest, prepared)
        task.record.unlink(missing_ok=True)  # from here on the case isn't done until the new record is in place
        for path in task.files:
            os.replace(beside / path.relative_to(task.output), path)
    except OSError as error:
        raise InputError(
            f"case {task.case}: can't be written ({error.strerror or error}); choose another --output"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_files(task: Task, digest: str, prepared: PreparedPair) -> None:
    for kind, image in prepared.images.items():
        if kind in (NCCT, CTA):
            note = "NCCT" if kind == NCCT else "CTA, aligned with the NCCT"
            write_like(image, prepared.ncct, task.image(kind), description=note)
        else:
            write_mask_like(image, prepared.ncct, task.image(kind), description=f"{kind} mask")
    task.picture.parent.mkdir(exist_ok=True)
    turned = [to_ras(image, prepared.ncct.affine) for image in (*prepared.images.values(), prepared.before)]
    (ncct_hu, orientation), (cta_hu, _), (lung, _), _, (before_hu, _) = turned
    spacing = spacing_to_ras(prepared.ncct.spacing, orientation)
    draw_pair(task.picture, task.case, ncct_hu, {BEFORE: before_hu, AFTER: cta_hu}, lung, spacing)
    record = {
        "case": task.case,
        "patient": task.patient,
        "digest": digest,
        "settings": asdict(task.settings),
        "shape": prepared.ncct.shape,
        "spacing_mm": prepared.ncct.spacing,
        "scores": prepared.scores,
        "flags": flags(prepared.scores, ALL_LIMITS),
        "files": {path.name: _state_of(path) for path in task.files if path != task.record},
    }
    write_text(to_json(record), task.record)
