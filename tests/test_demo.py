from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from ncct_cta import demo
from ncct_cta.data import Case
from ncct_cta.demo_report import COLUMNS, format_table, score_methods, verdict, write_hu_remap, write_json
from ncct_cta.errors import InputError

REACHED = {
    "identity": {"body_mae_hu": 30, "lung_mae_hu": 28, "vessel_mae_hu": 300, "nonvessel_mae_hu": 15},
    "hu_remap": {"body_mae_hu": 31, "lung_mae_hu": 26, "vessel_mae_hu": 240, "nonvessel_mae_hu": 20},
    "G": {"body_mae_hu": 18, "lung_mae_hu": 18, "vessel_mae_hu": 120, "nonvessel_mae_hu": 18},
}
METHODS = {name: {**scores, "enhancement_recovery": 0.5} for name, scores in REACHED.items()}
SHAPE = (12, 12, 6)


def nifti(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.int16), np.diag([-1.0, -1.0, 1.0, 1.0])), path)
    return path


def case(folder: Path, name: str = "p", *, ncct_hu: int = 40, cta_hu: int = 340) -> Case:
    """Air around a block of tissue whose middle enhances."""
    ncct = np.full(SHAPE, -1000)
    ncct[1:-1, 1:-1] = ncct_hu
    vessel = np.zeros(SHAPE)
    vessel[4:6, 4:6] = 1
    lung = np.zeros(SHAPE)
    lung[7:9, 7:9] = 1
    arrays = {"ncct": ncct, "cta": np.where(vessel > 0, cta_hu, ncct), "lung": lung, "vessel": vessel}
    return Case(name, **{kind: nifti(folder / f"{name}_{kind}.nii.gz", array) for kind, array in arrays.items()})


def test_the_table_holds_every_method_and_fits_the_terminal() -> None:
    lines = format_table(METHODS, 2).splitlines()
    assert max(map(len, lines)) <= 100
    assert "2 held-out cases" in lines[0]
    assert [line.split()[0] for line in lines[3:]] == ["identity", "HU", "G"]
    assert lines[-1].split()[1:] == ["18.0", "18.0", "120.0", "18.0", "0.50"]
    assert len(set(map(len, lines[2:]))) == 1


def test_one_case_is_not_called_cases() -> None:
    assert "1 held-out case;" in format_table(METHODS, 1)


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


def test_scores_come_from_the_saved_files(tmp_path: Path) -> None:
    held_out = [case(tmp_path, "a", cta_hu=340), case(tmp_path, "b", cta_hu=240)]
    for one in held_out:
        # 100 HU of enhancement instead of 300 and 200, and every voxel 10 HU too bright
        cta = nib.load(one.cta).get_fdata()
        nifti(tmp_path / "g" / f"{one.name}_syncta.nii.gz", np.where(cta > 200, 140, cta) + 10)
    scores = score_methods(held_out, {"G": tmp_path / "g"})
    assert scores["identity"]["vessel_mae_hu"] == pytest.approx(250)
    assert scores["identity"]["nonvessel_mae_hu"] == 0
    assert scores["identity"]["enhancement_recovery"] == 0
    assert scores["G"]["vessel_mae_hu"] == pytest.approx((190 + 90) / 2)
    assert scores["G"]["lung_mae_hu"] == scores["G"]["nonvessel_mae_hu"] == 10
    assert scores["G"]["enhancement_recovery"] == pytest.approx((110 / 300 + 110 / 200) / 2)
    assert scores["G"].keys() >= COLUMNS.keys()


def test_the_hu_remap_is_fitted_on_the_training_pairs_alone(tmp_path: Path) -> None:
    training, held_out = case(tmp_path, "a", cta_hu=340), case(tmp_path, "b", cta_hu=2000)
    write_hu_remap([training], [held_out], tmp_path / "remap")
    remapped = nib.load(tmp_path / "remap" / "b_syncta.nii.gz").get_fdata()
    # 4 of 100 voxels of 40 HU enhance by 300
    assert set(np.unique(remapped)) == {-1000, 52}


def test_what_is_unknown_is_null_in_the_summary(tmp_path: Path) -> None:
    write_json({"methods": {"G": {"vessel_mae_hu": float("nan")}}, "cases": 2}, tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text()) == {
        "methods": {"G": {"vessel_mae_hu": None}},
        "cases": 2,
    }
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


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
    assert all(scores.keys() >= COLUMNS.keys() for scores in summary["methods"].values())
    assert summary["cases"] == 1
    assert {split: len(names) for split, names in summary["cohort"].items()} == dict.fromkeys(summary["cohort"], 1)
    for stage in demo.STAGES:
        assert (output / stage.folder / "checkpoint_best.pt").is_file()
        assert (output / stage.folder / "predictions" / "phantom002_syncta.nii.gz").is_file()
    assert imread(output / "preview.png").shape[1] > 1000
