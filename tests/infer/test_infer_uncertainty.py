"""Ensembles and test-time augmentation, from the command to the files."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from made_scans import edited, hu_of, save, synthesise

from ncct_cta.infer.command import main as infer
from ncct_cta.pack import main as pack


@pytest.fixture(scope="module")
def stronger_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network changes more."""
    return edited(trained_run, tmp_path_factory.mktemp("runs") / "stronger", weights=lambda value: value * 1.5)


def refusal(capsys: pytest.CaptureFixture[str], scan: Path, output: Path, *words: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        infer(["--input", str(scan), "--output", str(output), "--device", "cpu", *map(str, words)])
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def scan(cohort: Path, tmp_path: Path) -> Path:
    """A few slices of a phantom."""
    source = nib.load(cohort / "phantom003_ncct.nii.gz")
    hu = np.ascontiguousarray(hu_of(cohort / "phantom003_ncct.nii.gz")[..., 10:14])
    return save(tmp_path / "in" / "p_ncct.nii.gz", hu, sform=(source.affine, 1))


def record(folder: Path) -> dict:
    return json.loads((folder / "p_syncta.json").read_text())


def test_of_several_runs_the_mean_and_the_spread_are_written(
    trained_run: Path, stronger_run: Path, scan: Path, tmp_path: Path
) -> None:
    runs = (trained_run, stronger_run)
    one, other = (
        hu_of(synthesise(scan, tmp_path / run.name, "--run", run)["p_syncta.nii.gz"]).astype(float) for run in runs
    )
    outputs = synthesise(scan, tmp_path / "both", "--run", *runs, "--uncertainty")
    assert list(outputs) == ["p_sd.nii.gz", "p_syncta.nii.gz"]
    assert np.abs(one - other).max() > 5
    assert np.abs(hu_of(outputs["p_syncta.nii.gz"]) - (one + other) / 2).max() <= 1
    assert np.abs(hu_of(outputs["p_sd.nii.gz"]) - np.abs(one - other) / 2**0.5).max() <= 2
    assert np.array_equal(nib.load(outputs["p_sd.nii.gz"]).affine, nib.load(scan).affine)


def test_runs_checkpoints_and_packed_models_make_the_same_ensemble(
    trained_run: Path, stronger_run: Path, scan: Path, tmp_path: Path
) -> None:
    pack([str(stronger_run), "--output", str(tmp_path / "s.zip")])
    by_run = synthesise(scan, tmp_path / "a", "--run", trained_run, "--run", stronger_run)
    mixed = synthesise(scan, tmp_path / "b", "--run", trained_run, "--model", tmp_path / "s.zip")
    files = (run / "checkpoint_best.pt" for run in (trained_run, stronger_run))
    alone = synthesise(scan, tmp_path / "c", "--checkpoint", *files)
    for outputs in (mixed, alone):
        assert np.array_equal(hu_of(outputs["p_syncta.nii.gz"]), hu_of(by_run["p_syncta.nii.gz"]))


def test_one_run_is_moved_a_little_for_its_spread(trained_run: Path, scan: Path, tmp_path: Path) -> None:
    outputs = synthesise(scan, tmp_path / "out", "--run", trained_run, "--uncertainty")
    assert hu_of(outputs["p_sd.nii.gz"]).max() > 0
    assert len(record(tmp_path / "out")["made_from"]["settings"]["moved"]) == 8


@pytest.mark.parametrize("spacing", [None, [9.0, 9.0, 12.0]])
def test_an_identity_net_gives_the_input_back_however_it_is_moved(
    spacing: list[float] | None, identity_run: Path, scan: Path, tmp_path: Path
) -> None:
    run = identity_run if spacing is None else edited(identity_run, tmp_path / "run", spacing=spacing)
    outputs = synthesise(scan, tmp_path / "out", "--run", run, "--tta", "4", "--uncertainty")
    assert np.array_equal(hu_of(outputs["p_syncta.nii.gz"]), hu_of(scan))
    assert not hu_of(outputs["p_sd.nii.gz"]).any()


def test_on_a_grid_of_its_own_the_spread_is_that_of_the_members(
    trained_run: Path, stronger_run: Path, scan: Path, tmp_path: Path
) -> None:
    runs = [
        edited(run, tmp_path / f"{run.name}_spaced", spacing=[9.0, 9.0, 10.5]) for run in (trained_run, stronger_run)
    ]
    one, other = (
        hu_of(synthesise(scan, tmp_path / f"of_{run.name}", "--run", run)["p_syncta.nii.gz"]).astype(float)
        for run in runs
    )
    outputs = synthesise(scan, tmp_path / "both", "--run", *runs, "--uncertainty")
    expected, found = np.abs(one - other) / 2**0.5, hu_of(outputs["p_sd.nii.gz"])
    assert np.abs(found - expected).mean() < 0.2 * expected.mean() + 0.5
    assert expected.mean() > 1


def test_an_ensemble_and_its_order_and_number_decide_what_is_done(
    trained_run: Path, stronger_run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path, *_) = synthesise(scan, tmp_path / "out", "--run", trained_run, stronger_run).values()
    written = path.stat().st_mtime_ns
    synthesise(scan, tmp_path / "out", "--run", stronger_run, trained_run)
    assert path.stat().st_mtime_ns == written
    assert "other weights" in refusal(capsys, scan, tmp_path / "out", "--run", trained_run)
    moved = refusal(capsys, scan, tmp_path / "out", "--run", trained_run, stronger_run, "--tta", 2)
    assert "other settings" in moved


def test_a_missing_or_changed_spread_is_noticed(
    trained_run: Path, stronger_run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--run", trained_run, stronger_run, "--uncertainty")
    sd = synthesise(scan, tmp_path / "out", *words)["p_sd.nii.gz"]
    good = sd.read_bytes()
    sd.unlink()
    synthesise(scan, tmp_path / "out", *words)
    assert sd.read_bytes() == good
    sd.write_bytes(good[:-1])
    assert "isn't the file that" in refusal(capsys, scan, tmp_path / "out", *words)


def test_models_that_see_other_images_are_no_ensemble(
    trained_run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = edited(trained_run, tmp_path / "other", window=[-500, 500])
    line = refusal(capsys, scan, tmp_path / "out", "--run", trained_run, other)
    assert "its data.window is (-500.0, 500.0)" in line


def test_a_run_named_twice_is_no_ensemble(
    trained_run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "named twice" in refusal(capsys, scan, tmp_path / "out", "--run", trained_run, trained_run)


def test_copies_of_one_model_are_no_ensemble(
    trained_run: Path, stronger_run: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would agree everywhere, and the map of uncertainty say that nothing is uncertain."""
    pack([str(trained_run), "--output", str(tmp_path / "copy.zip")])
    words = ("--run", trained_run, stronger_run, "--model", tmp_path / "copy.zip", "--uncertainty")
    line = refusal(capsys, scan, tmp_path / "out", *words)
    assert "copy.zip: holds the same weights as" in line
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_a_folder_with_a_spread_beside_its_synthetic_cta_holds_one_scan(
    identity_run: Path, scan: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        outputs = synthesise(scan.parent, scan.parent, "--run", identity_run, "--uncertainty")
    assert list(outputs) == ["p_ncct.nii.gz", "p_sd.nii.gz", "p_syncta.nii.gz"]
