from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

from ncct_cta.common.errors import InputError
from ncct_cta.demo import command as demo
from ncct_cta.demo.summary import verdict

REACHED = {
    "identity": {"body_mae_hu": 30, "lung_mae_hu": 28, "vessel_mae_hu": 300, "nonvessel_mae_hu": 15},
    "hu_remap": {"body_mae_hu": 31, "lung_mae_hu": 26, "vessel_mae_hu": 240, "nonvessel_mae_hu": 20},
    "G": {"body_mae_hu": 18, "lung_mae_hu": 18, "vessel_mae_hu": 120, "nonvessel_mae_hu": 18},
}
METHODS = {name: {**scores, "enhancement_recovery": 0.5} for name, scores in REACHED.items()}


@pytest.mark.parametrize(
    ("changed", "reached", "words"),
    [
        ({}, True, "40% of the identity's (at most 40%) and below"),
        ({"vessel_mae_hu": 121.6}, False, "41% of the identity's"),
        ({"nonvessel_mae_hu": 18.1}, False, "3.1 HU above the identity's"),
        ({"nonvessel_mae_hu": 14.5}, True, "0.5 HU below the identity's"),
    ],
)
def test_the_verdict_says_whether_the_demo_reaches_what_it_should(changed: dict, reached: bool, words: str) -> None:
    text = " ".join(verdict({**METHODS, "G": {**METHODS["G"], **changed}}, ["G"]).split())
    assert text.startswith("G reaches" if reached else "G DOES NOT REACH")
    assert words in text
    assert ("Train longer" in text) is not reached


def test_a_network_that_the_hu_remap_beats_does_not_reach_it() -> None:
    remap = {**METHODS["hu_remap"], "vessel_mae_hu": 100}
    text = " ".join(verdict({**METHODS, "hu_remap": remap}, ["G"]).split())
    assert text.startswith("G DOES NOT REACH")
    assert "not below the HU remap's" in text


def test_the_verdict_fits_the_terminal() -> None:
    assert max(map(len, verdict(METHODS, ["G"]).splitlines())) <= 100


def test_an_earlier_demo_is_replaced_and_other_files_stay(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    demo.prepare_folder(tmp_path)
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "checkpoint_last.pt").touch()
    for name in ("summary.json", "mine.txt"):
        (tmp_path / name).touch()
    demo.prepare_folder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.txt", "mine.txt"]
    assert "replaced the earlier demo" in capsys.readouterr().out


def test_what_no_demo_wrote_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    with pytest.raises(InputError, match="holds g, which no demo wrote; choose another --output"):
        demo.prepare_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stop:
        demo.main(["--output", str(tmp_path / "file" / "demo")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_stage_starts_from_an_earlier_ones_best_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, list[str]] = {}
    monkeypatch.setattr(demo.train, "main", lambda words: calls.update(train=words))
    monkeypatch.setattr(demo.infer, "main", lambda words: calls.update(infer=words))
    stage = demo.Stage("G2", "g2", "g2", steps=7, epochs=3, starts_from={"train::pretrained_G": "g"})
    demo.run_stage(stage, tmp_path, tmp_path / "datalist.json", seed=4, steps=stage.steps)
    given = dict(zip(calls["train"][1::2], calls["train"][2::2], strict=True))
    assert calls["train"][0] == "g2"
    assert given["--train::pretrained_G"] == str(tmp_path / "g" / "checkpoint_best.pt")
    assert (given["--train::num_epochs"], given["--train::steps_per_epoch"]) == ("3", "2")
    assert given["--train::seed"] == "4"
    assert calls["infer"][:2] == ["--run", str(tmp_path / "g2")]


@pytest.mark.slow
def test_the_demo_runs_twice_into_one_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ncct_cta.demo", "--output", "out", "--cases", "3", "--steps", "2"]
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    assert "replaced the earlier demo in out" in done.stdout
    output = tmp_path / "out"
    assert (output / "table.txt").read_text() in done.stdout
    assert "DOES NOT REACH" in done.stdout
    summary = json.loads((output / "summary.json").read_text())
    assert list(summary["methods"]) == ["identity", "hu_remap", *(stage.name for stage in demo.STAGES)]
    assert all(scores["vessel_mae_hu"] > 0 for scores in summary["methods"].values())
    assert (output / "report.html").stat().st_size > 100_000
    assert "out/report.html" in done.stdout
    assert summary["cases"] == 1
    assert {split: len(names) for split, names in summary["cohort"].items()} == dict.fromkeys(summary["cohort"], 1)
    for stage in demo.STAGES:
        assert (output / stage.folder / "checkpoint_best.pt").is_file()
        assert (output / stage.folder / "predictions" / "phantom002_syncta.nii.gz").is_file()
    assert imread(output / "preview.png").shape[1] > 1000
