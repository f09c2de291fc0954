"""An evaluation on a dask cluster: the tables and the report of one machine, to the last bit."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from test_evaluate import predict, shifted
from test_failures import BAD, CASES, replaced, words_of

from ncct_cta.data import Case
from ncct_cta.evaluate import scoring
from ncct_cta.evaluate.command import main
from ncct_cta.evaluate.results import DEFAULT_WINDOW, IDENTITY, Method
from ncct_cta.evaluate.scoring import score_cases
from ncct_cta.metrics import columns


def evaluated(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the command leaves of tables, reports and volumes, by where they lie below ``folder``."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    main(["--output", "out", *words])
    paths = (path for path in folder.rglob("*") if path.is_file() and "predictions" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.name != ".made_from.json"}


@pytest.mark.slow
def test_tables_and_report_are_those_of_one_machine(cluster, cohort, trained_run, tmp_path, monkeypatch) -> None:
    ours = tmp_path / "ours"
    for name in CASES:
        predict(cohort, ours, shifted, name)
    words = ["--datalist", str(cohort), "--split", "all", "--pred", str(ours), "--run", f"G={trained_run}"]
    words += ["--device", "cpu"]
    here = evaluated(words, tmp_path / "here", monkeypatch)
    there = evaluated([*words, "--scheduler", cluster.scheduler_address], tmp_path / "there", monkeypatch)
    assert {"out/scores.csv", "out/summary.csv", "out/summary.json", "out/report.html"} <= here.keys()
    assert here.keys() == there.keys()
    assert [name for name, content in here.items() if there[name] != content] == []


@pytest.mark.slow
def test_a_bad_case_is_named_and_the_others_are_scored(cluster, cohort, tmp_path, capsys, caplog) -> None:
    own = tmp_path / "cohort"
    own.mkdir()
    for path in (*cohort.glob("*.nii.gz"), cohort / "datalist.json"):
        (own / path.name).hardlink_to(path)
    replaced(own / f"{BAD}_cta.nii.gz", b"no CT")
    said = {}
    for place, words in (("here", []), ("there", ["--scheduler", cluster.scheduler_address])):
        caplog.clear()
        with pytest.raises(SystemExit, match="3"):
            main([*words_of(own, tmp_path / place), "--split", "all", *words])
        found = capsys.readouterr()
        lines = [record.getMessage() for record in caplog.records if record.name.startswith("ncct_cta")]
        said[place] = [line.replace(f"/{place}", "") for line in (found.out, found.err, *lines)]
    assert said["here"] == said["there"]
    assert (tmp_path / "here" / "scores.csv").read_bytes() == (tmp_path / "there" / "scores.csv").read_bytes()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be sent to a cluster on which every case fails."""
    jobs: list[Any] = []

    def run(given: Any, *_: Any, **__: Any) -> dict[str, str]:
        jobs.extend(given)
        return {job.name: "the workers that took it ended" for job in given}

    monkeypatch.setattr(scoring, "run_on_cluster", run)
    return jobs


def test_a_case_that_a_worker_died_of_is_a_failure(cases: list[Case], sent: list[Any]) -> None:
    identity = Method(IDENTITY, {case.name: case.ncct for case in cases})
    found = score_cases(cases, [identity], columns=columns(DEFAULT_WINDOW), scheduler="tcp://there:8786")
    reasons = [scores.failure.reason for scores in found if scores.failure is not None]
    assert reasons == [f"case {name}: the workers that took it ended" for name in CASES]
    assert [job.memory_gb for job in sent] == [pytest.approx(0.6 + 52 * 48 * 48 * 24 / 1e9)] * len(CASES)


def test_what_is_sent_for_a_case_doesnt_grow_with_the_cases(tmp_path: Path, sent: list[Any]) -> None:
    sizes = []
    for count in (2, 1000):
        cases = [Case(f"case{number:04}", tmp_path / f"{number:04}_ncct.nii.gz") for number in range(count)]
        files = {case.name: case.ncct for case in cases}
        methods = [Method(IDENTITY, files), Method("a", files, segments={name: (p, p) for name, p in files.items()})]
        sent.clear()
        score_cases(cases, methods, columns=columns(DEFAULT_WINDOW), scheduler="tcp://there:8786")
        sizes.append(max(len(pickle.dumps(job.argument)) for job in sent))
    assert sizes[0] == sizes[1]
