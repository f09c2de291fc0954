"""A G with a gated head and all nets: trained, resumed, used, packed and exported."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from small_runs import needs_onnx, scripted_and_plain, trained_and_resumed

from ncct_cta.common.errors import InputError
from ncct_cta.export import command
from ncct_cta.infer.command import main as infer
from ncct_cta.pack import main as pack
from ncct_cta.settings import Settings
from ncct_cta.train.command import main as train


@pytest.fixture(scope="module")
def run(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gated") / "run"
    return trained_and_resumed(cohort, tiny_settings, folder, {"model::head": "gated", "refine::fusion": "concat"})


def synthesised(cohort: Path, output: Path, *model: str) -> np.ndarray:
    infer(["--input", str(cohort / "datalist.json"), *model, "--output", str(output), "--device", "cpu"])
    (written,) = output.glob("*_syncta.nii.gz")
    return np.asarray(nib.load(written).dataobj)


def test_its_gate_has_a_column_of_its_own(run: Path) -> None:
    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(0 < float(row["gate"]) < 3 for row in rows)


def test_a_scan_is_synthesised_alike_by_the_run_and_by_its_packed_model(
    run: Path, cohort: Path, tmp_path: Path
) -> None:
    pack([str(run), "--output", str(tmp_path / "model.zip")])
    by_run = synthesised(cohort, tmp_path / "run", "--run", str(run))
    assert np.array_equal(by_run, synthesised(cohort, tmp_path / "pack", "--model", str(tmp_path / "model.zip")))
    ncct = next(
        path
        for path in cohort.glob("*_ncct.nii.gz")
        if (tmp_path / "run" / path.name.replace("ncct", "syncta")).exists()
    )
    assert not np.array_equal(by_run, np.asarray(nib.load(ncct).dataobj))


def test_as_torchscript_it_gives_the_same(run: Path) -> None:
    assert torch.allclose(*scripted_and_plain(run), atol=1e-6)


@pytest.mark.slow
@needs_onnx
def test_as_onnx_it_gives_the_same(run: Path, tmp_path: Path) -> None:
    command.main([str(run), "--output", str(tmp_path / "g.onnx")])  # compares at three sizes


def test_another_head_is_another_network(
    run: Path, cohort: Path, tiny_settings: list[str], tmp_path: Path, capsys
) -> None:
    words = ["g", *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "plain")]
    with pytest.raises(SystemExit):
        train([*words, "--model::in_slices", "3", "--pretrained_G", str(run / "checkpoint_last.pt")])
    assert "model.head is residual, expected gated" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "value"), [("residual_output", False), ("architecture", "users_nets.Net")])
def test_what_has_no_change_to_gate_is_named(key: str, value: object) -> None:
    with pytest.raises(InputError, match=r"model\.head is 'gated', expected residual"):
        Settings.parse({"model": {"head": "gated", key: value}})
