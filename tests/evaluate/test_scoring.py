from __future__ import annotations

from pathlib import Path

import pytest

from ncct_cta.common import resources
from ncct_cta.data import read_case_list
from ncct_cta.evaluate import scoring
from ncct_cta.evaluate.scoring import BYTES_PER_PROCESS, BYTES_PER_VOXEL, MEMORY_SHARE, planned_jobs


@pytest.mark.parametrize(
    ("cores", "fitting", "voxels", "expected"),
    [(8, 3.5, 1e9, 3), (2, 3.5, 1e9, 2), (8, 100, 1e9, 4), (8, 0.4, 1e9, 1), (8, 100, 1e6, 1), (8, None, 1e9, 1)],
    ids=["memory", "cores", "cases", "too little memory", "too little work", "unknown memory"],
)
def test_as_many_processes_as_cores_memory_and_cases_allow(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, cores: int, fitting: float | None, voxels: float, expected: int
) -> None:
    cases = [case for split in read_case_list(cohort).values() for case in split]
    needed = BYTES_PER_PROCESS + BYTES_PER_VOXEL * voxels
    monkeypatch.setattr(scoring, "read_shape", lambda path: (int(voxels), 1, 1))
    monkeypatch.setattr(scoring, "usable_cores", lambda: cores)
    monkeypatch.setattr(
        scoring, "available_bytes", lambda: None if fitting is None else int(fitting * needed / MEMORY_SHARE)
    )
    assert planned_jobs(cases, methods=2) == expected


def test_free_memory_is_that_of_the_machine_within_the_control_groups_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(resources, "CGROUP", tmp_path)
    assert resources.available_bytes() is None
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:    4000 kB\n")
    assert resources.available_bytes() == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert resources.available_bytes() == 4000 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    assert resources.available_bytes() == 2000
