"""A case's files: written whole or not at all, and known again by their record."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import to_json, write_text
from .case_task import CaseTask

BYTES, MODIFIED, DIGEST = "bytes", "modified_ns", "blake2b"
CONTENT = ("case", "patient", "scores", "flags", "files")  # what a record must hold to be of use


def finished_record(task: CaseTask) -> tuple[dict[str, Any] | None, str]:
    """The record of a case that is done with these settings and sources, its files as they were written.

    Returns:
        The record, or None if the case is to be prepared; and why, where it seemed to be done and isn't.
    """
    try:
        record = json.loads(task.record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, RecursionError):
        return None, "its record can't be read"
    if not isinstance(record, dict) or not {*CONTENT} <= record.keys() or not isinstance(record["files"], dict):
        return None, "" if isinstance(record, dict) and "digest" in record else "its record can't be read"
    if record.get("digest") != task.digest():
        return None, ""
    if not _is_of(task, record):
        return None, "its record can't be read"
    changed = [path.name for path in task.files if path != task.record and not _is_as_written(path, record["files"])]
    return (None, f"{changed[0]} is missing or not as it was written") if changed else (record, "")


def _is_of(task: CaseTask, record: Mapping[str, Any]) -> bool:
    """Whether a record is of this case and holds what a preparation writes: reports and case lists are made of it."""
    scores, flags, empty = record["scores"], record["flags"], record.get("empty", [])
    return (
        (record["case"], record["patient"]) == (task.case, task.patient)
        and isinstance(scores, dict)
        and all(score is None or type(score) in (int, float) for score in scores.values())
        and all(isinstance(words, list) for words in (flags, empty))
        and all(isinstance(word, str) for word in (*flags, *empty))
    )


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


def write_case(task: CaseTask, digest: str, write: Callable[[Any], Mapping[str, Any]]) -> None:
    """Write a case's files to a temporary folder, then rename them, the record last.

    Args:
        task: the case, and where to.
        digest: of what it is made from.
        write: writes the images and the picture of a task like this one, in another folder, and returns what the
            record is to say: scores, flags and more.

    A process that is killed leaves a folder ``.{case}.partial``, which the next one replaces, and only whole files.

    Raises:
        InputError: if the folder can't be written.
    """
    beside = task.partial
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        task.record.parent.mkdir(exist_ok=True)
        there = replace(task, output=beside)
        there.picture.parent.mkdir()
        content = {"case": task.case, "patient": task.patient, "digest": digest, "settings": asdict(task.settings)}
        content |= write(there)
        states = {path.name: _state_of(path) for path in there.files if path != there.record}
        write_text(to_json({**content, "files": states}), there.record)
        task.record.unlink(missing_ok=True)  # from here on the case isn't done until the new record is in place
        for path in task.files:
            os.replace(beside / path.relative_to(task.output), path)
    except OSError as error:
        raise InputError(
            f"case {task.case}: can't be written ({error.strerror or error}); choose another --output"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
