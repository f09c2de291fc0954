"""A case is known again by its record, which may be a stranger's: only what a preparation writes is taken from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ncct_cta.prepare.case_files import finished_record, write_case
from ncct_cta.prepare.case_task import CaseTask


@dataclass(frozen=True)
class Settings:
    seed: int = 0


class Task(CaseTask):
    kinds = ("ncct",)

    def digest(self) -> str:
        return "0"


@pytest.fixture
def task(tmp_path: Path) -> Task:
    task = Task("a", "p", tmp_path / "out", Settings())

    def write(there: Any) -> Mapping[str, Any]:
        for path in (there.image("ncct"), there.picture):
            path.write_bytes(b"x")
        return {"scores": {"dice": 0.5, "nothing": None}, "flags": ["bad"]}

    write_case(task, "0", write)
    return task


def test_what_was_written_is_done(task: Task) -> None:
    record, problem = finished_record(task)
    assert record is not None
    assert (record["scores"]["dice"], problem) == (0.5, "")


@pytest.mark.parametrize(
    "forged",
    [
        {"case": "../../secret"},
        {"patient": ["p"]},
        {"patient": "another"},
        {"scores": [0.5]},
        {"scores": {"dice": "<b>"}},
        {"scores": {"dice": True}},
        {"flags": "bad"},
        {"flags": [{"a": 1}]},
    ],
    ids=str,
)
def test_a_record_of_something_else_is_made_anew(task: Task, forged: dict[str, Any]) -> None:
    task.record.write_text(json.dumps(json.loads(task.record.read_text()) | forged))
    assert finished_record(task) == (None, "its record can't be read")


def test_a_record_nested_without_end_is_made_anew(task: Task) -> None:
    task.record.write_text("[" * 100_000)
    assert finished_record(task) == (None, "its record can't be read")
