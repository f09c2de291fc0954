"""One case that can't be scored costs its own row and nothing else, and is named."""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from test_evaluate import predict, rows, shifted

from ncct_cta.common.errors import InputError
from ncct_cta.evaluate import case_scores, predictions, processes
from ncct_cta.evaluate.command import main
from ncct_cta.evaluate.failures import Failure, require_none

CASES = [f"phantom{number:03}" for number in range(4)]
BAD = "phantom001"


@pytest.fixture
def own_cohort(cohort: Path, tmp_path: Path) -> Path:
    """A copy of the cohort without its vessel masks, so that there is something to compute."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    for path in cohort.glob("*.nii.gz"):
        if "_vessel" not in path.name:
            os.link(path, folder / path.name)
    entries = [{"case": name, **{kind: f"{name}_{kind}.nii.gz" for kind in ("ncct", "cta", "lung")}} for name in CASES]
    (folder / "datalist.json").write_text(json.dumps({"testing": entries}))
    return folder


def replaced(path: Path, content: bytes) -> None:
    path.unlink()  # the cohort's own file stays
    path.write_bytes(content)


def words_of(cohort: Path, output: Path) -> list[str]:
    return ["--datalist", str(cohort), "--output", str(output), "--no-report"]


def scored_with_a_failure(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command prints; it must end with 2 and the name of the bad case."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 3
    found = capsys.readouterr()
    assert f"error: 1 of 4 cases can't be scored, for the reasons above: {BAD}" in found.err
    return " ".join(found.out.split())


@pytest.mark.parametrize("kind", ["ncct", "cta", "lung"])
def test_a_damaged_file_costs_one_case(own_cohort: Path, tmp_path: Path, capsys, caplog, kind: str) -> None:
    path = own_cohort / f"{BAD}_{kind}.nii.gz"
    replaced(path, path.read_bytes()[:200])
    printed = scored_with_a_failure(words_of(own_cohort, tmp_path / "out"), capsys)
    assert {case for case, _ in rows(tmp_path / "out")} == set(CASES) - {BAD}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["failures"]) == [BAD]
    assert summary["cases"] == [case for case in CASES if case != BAD]
    assert [remark.startswith(f"Not scored: {path}") for remark in summary["remarks"]].count(True) == 1
    assert "* Not scored: " in printed
    assert str(path) in caplog.text


def test_the_other_cases_have_the_figures_that_they_have_alone(own_cohort: Path, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "p"
    for name in CASES:
        predict(own_cohort, folder, shifted, name)
    words = ["--pred", str(folder)]
    main([*words_of(own_cohort, tmp_path / "all"), *words])
    replaced(folder / f"{BAD}_syncta.nii.gz", b"")
    scored_with_a_failure([*words_of(own_cohort, tmp_path / "rest"), *words], capsys)
    expected = {key: row for key, row in rows(tmp_path / "all").items() if key[0] != BAD}
    assert repr(rows(tmp_path / "rest")) == repr(expected)


@pytest.mark.parametrize("error", [RuntimeError("unforeseen"), MemoryError(), KeyError("x")], ids=lambda e: repr(e)[:9])
def test_what_nobody_foresaw_costs_one_case_too(own_cohort, tmp_path, capsys, caplog, monkeypatch, error) -> None:
    def reads(path: Path, read: Callable = case_scores.read_ct) -> object:
        if path.name == f"{BAD}_cta.nii.gz":
            raise error
        return read(path)

    monkeypatch.setattr(case_scores, "read_ct", reads)
    caplog.set_level(logging.DEBUG, "ncct_cta")
    scored_with_a_failure([*words_of(own_cohort, tmp_path / "out"), "--debug"], capsys)
    words = (
        "there isn't enough memory"
        if isinstance(error, MemoryError)
        else f"a fault of this software ({type(error).__name__} in"
    )
    reason, trace = (record.getMessage() for record in caplog.records if record.name.endswith("failures"))
    assert f"case {BAD}: " in reason
    assert words in reason
    assert "Traceback" not in reason
    assert "Traceback" in trace


def test_a_mask_that_cant_be_computed_costs_one_case(own_cohort, tmp_path, capsys, monkeypatch) -> None:
    def computes(ncct: object, cta: object, compute: Callable = predictions.read_ct) -> object:
        raise RuntimeError("unforeseen")

    from ncct_cta.evaluate import missing_masks

    compute = missing_masks.vessel_mask_from_pair
    calls = iter(CASES)
    monkeypatch.setattr(
        missing_masks,
        "vessel_mask_from_pair",
        lambda *images: computes(*images) if next(calls) == BAD else compute(*images),
    )
    scored_with_a_failure(words_of(own_cohort, tmp_path / "out"), capsys)


def test_where_no_case_is_left_there_are_no_tables(own_cohort: Path, tmp_path: Path, capsys, caplog) -> None:
    for name in CASES:
        replaced(own_cohort / f"{name}_cta.nii.gz", b"no CT")
    with pytest.raises(SystemExit):
        main(words_of(own_cohort, tmp_path / "out"))
    assert "4 of 4 cases can't be scored" in capsys.readouterr().err
    assert all(f"{name}_cta.nii.gz" in caplog.text for name in CASES)
    assert not (tmp_path / "out" / "scores.csv").exists()


def test_a_training_pair_that_cant_be_read_is_left_out_of_the_remap(cohort, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    for path in (*cohort.glob("*.nii.gz"), cohort / "datalist.json"):
        os.link(path, folder / path.name)
    replaced(folder / "phantom000_cta.nii.gz", gzip.compress(b"no CT"))
    main(words_of(folder, tmp_path / "out"))
    assert "HU remap: fitted without phantom000." in " ".join(capsys.readouterr().out.split())
    assert {method for _, method in rows(tmp_path / "out")} == {"identity", "hu_remap"}


def test_what_was_made_and_then_cut_is_made_again_with_one_line(cohort: Path, tmp_path: Path, caplog) -> None:
    words = words_of(cohort, tmp_path / "out")
    main(words)
    made, scores = tmp_path / "out" / "hu_remap" / "phantom003_syncta.nii.gz", tmp_path / "out" / "scores.csv"
    whole, first = made.read_bytes(), scores.read_bytes()
    made.write_bytes(whole[:100])
    main(words)
    assert made.read_bytes() == whole
    assert scores.read_bytes() == first
    assert caplog.text.count("it is made again") == 1


def killed(item: str) -> str:
    if item == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return item.upper()


@pytest.mark.slow
def test_a_killed_process_costs_the_item_that_killed_it() -> None:
    items = ["a", "bad", "b", "c"]
    assert list(processes.side_by_side(killed, items, 2, partial(str.__add__, "died: "))) == [
        "A", "died: bad", "B", "C",
    ]  # fmt: skip


def test_several_failures_are_counted_and_a_few_are_named() -> None:
    failures = {f"p{number}": Failure(f"p{number}: damaged") for number in range(30)}
    with pytest.raises(InputError, match=r"^30 of 40 cases can't be scored.*: p0, p1, .*p9 and 20 more$"):
        require_none(failures, 40)
    with pytest.raises(InputError, match=r"^p0: damaged$"):
        require_none({"p0": failures["p0"]}, 1)
    require_none({}, 1)


def test_a_scan_that_a_run_cant_synthesise_costs_one_case(own_cohort, trained_run, tmp_path, capsys) -> None:
    path = own_cohort / f"{BAD}_ncct.nii.gz"
    replaced(path, path.read_bytes()[:200])
    scored_with_a_failure([*words_of(own_cohort, tmp_path / "out"), "--run", f"G={trained_run}"], capsys)
    found = rows(tmp_path / "out")
    assert {case for case, _ in found} == set(CASES) - {BAD}
    assert {method for _, method in found} >= {"identity", "G"}


def working(words: list[str], *, children: int) -> subprocess.Popen[str]:
    """The command in a process of its own, once so many processes work for it."""
    command = [sys.executable, "-m", "ncct_cta.evaluate", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while len(workers_of(process.pid)) < children and process.poll() is None:
        time.sleep(0.05)
    return process


def workers_of(process: int) -> list[int]:
    """The process' children that score; the resource tracker isn't one."""
    children = Path(f"/proc/{process}/task/{process}/children")
    found = map(int, children.read_text().split()) if children.exists() else ()
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGTERM, 143, "stopped by SIGTERM: run the same command again"),
        (signal.SIGINT, 130, "stopped by Ctrl-C: run the same command again"),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
    ids=["SIGTERM", "Ctrl-C", "SIGKILL"],
)
def test_a_stopped_evaluation_ends_its_processes_and_leaves_nothing(
    own_cohort: Path, tmp_path: Path, number: int, status: int, line: str
) -> None:
    process = working([*words_of(own_cohort, tmp_path / "out"), "--jobs", "2"], children=2)
    workers = workers_of(process.pid)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == status
    assert line in error
    assert "Traceback" not in error
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert not [path for path in (tmp_path / "out").rglob(".*") if path.name != ".made_from.json"]
