"""The model that comes with the package: taken where none is named, never silently, and to start a training from."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from made_scans import synthesise
from shared_data import SHARED_DATA

import ncct_cta
from ncct_cta.common.errors import InputError
from ncct_cta.infer.command import main as infer
from ncct_cta.runs import starter
from ncct_cta.runs.checkpoints import load_checkpoint
from ncct_cta.runs.model_archive import read_archive
from ncct_cta.runs.starter import STARTER_FILE, WHOSE
from ncct_cta.settings.places import find_config
from ncct_cta.train.command import main as train

MOST_BYTES = 8_000_000


def spoken(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage() == WHOSE]


def test_it_is_small_stored_in_half_precision_and_has_a_card_with_both_baselines() -> None:
    assert STARTER_FILE.stat().st_size <= MOST_BYTES
    packed = read_archive(STARTER_FILE)
    assert {value.dtype for value in packed.weights.values() if value.is_floating_point()} == {torch.float16}
    assert "not for patients" in packed.card["training_data"]
    assert packed.card["licence"].startswith("CC BY")
    tables = {scores["title"]: scores["columns"] for scores in packed.card["scores"]}
    assert len(tables) == 2
    for columns in tables.values():
        vessels, rest = columns["vessel_mae_hu"], columns["nonvessel_mae_hu"]
        assert vessels["mean"] < min(vessels["identity"], vessels["hu_remap"])
        assert rest["mean"] <= rest["identity"] + 2
        assert {"false_vessel_ml", "missed_vessel_ml"} <= columns.keys()


def test_the_preset_has_its_network_and_its_grid() -> None:
    preset = yaml.safe_load(Path(find_config("g_starter")).read_text())
    trained = read_archive(STARTER_FILE).settings.as_plain()
    for section in ("data", "model"):
        assert {name: list(v) if isinstance(v := trained[section][name], tuple) else v for name in preset[section]} == (
            preset[section]
        )


def test_infer_without_a_model_takes_it_and_says_whose_weights_these_are(
    cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan = cohort / "phantom003_ncct.nii.gz"
    (unnamed,) = synthesise(scan, tmp_path / "unnamed", "--quiet").values()
    assert len(spoken(caplog)) == 1
    assert caplog.records[0].levelno == logging.WARNING
    (named,) = synthesise(scan, tmp_path / "named", "--model", "starter").values()
    assert len(spoken(caplog)) == 2
    assert named.read_bytes() == unnamed.read_bytes()


def test_from_python_it_gives_the_same_voxels(cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scan = cohort / "phantom003_ncct.nii.gz"
    (written,) = synthesise(scan, tmp_path).values()
    made = ncct_cta.synthesize(nib.load(scan))
    assert np.array_equal(np.asarray(made.dataobj), np.asarray(nib.load(written).dataobj))
    assert len(spoken(caplog)) == 2


def test_a_training_starts_from_its_weights(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["--train::num_epochs", "1", "--train::steps_per_epoch", "1", "--train::batch_size", "1"]
    words += ["--train::lr", "0", "--data::spacing", "null", "--data::cache_dir", tmp_path / "cache"]
    words += ["--data::datalist", cohort, "--train::output_dir", run, "--pretrained_G", "starter"]
    train(["g_starter", *map(str, words)])
    found, expected = load_checkpoint(run / "checkpoint_last.pt")["network"], read_archive(STARTER_FILE).weights
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value.float()) for name, value in expected.items())
    assert capsys.readouterr().out.count(WHOSE) == 1


def test_another_network_cannot_start_from_it(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data::datalist", cohort, "--train::output_dir", tmp_path / "run", "--pretrained_G", "starter"]
    with pytest.raises(SystemExit, match="2"):
        train(["g_small", *map(str, words)])
    expected = "model.in_slices is 1, expected 5; model.channels is [16, 32, 64, 128]"
    assert f"starter: trained with other settings: {expected}" in capsys.readouterr().err


def test_an_installation_without_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(starter, "STARTER_FILE", tmp_path / "starter.zip")
    with pytest.raises(SystemExit, match="2"):
        infer(["--input", str(tmp_path), "--output", str(tmp_path / "out")])
    assert "the starter model isn't in this installation" in capsys.readouterr().err
    with pytest.raises(InputError, match="isn't in this installation"):
        ncct_cta.Model.load("starter")


@pytest.mark.slow
def test_on_a_real_scan_it_brightens_the_blood(tmp_path: Path) -> None:
    scan = SHARED_DATA / "ncct" / "lungdx_a0001.nii.gz"
    if not scan.is_file():
        pytest.skip(f"{scan} isn't here")
    (written,) = synthesise(scan, tmp_path).values()
    ncct, made = (np.asarray(nib.load(path).dataobj).astype(np.int32) for path in (scan, written))
    changed = made - ncct
    assert made.shape == ncct.shape
    assert (changed > 80).sum() > 10 * (changed < -80).sum()
