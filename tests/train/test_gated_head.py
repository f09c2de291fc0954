"""A G with a gated head and all nets: trained, resumed, used, packed and exported."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from left_as_found import logging_left_as_found

from ncct_cta.common.errors import InputError
from ncct_cta.export import command
from ncct_cta.infer.command import main as infer
from ncct_cta.pack import main as pack
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.settings import Settings
from ncct_cta.train.command import main as train


@pytest.fixture(scope="module")
def run(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gated") / "run"
    given = {
        "data::datalist": cohort,
        "model::head": "gated",
        "model::in_slices": 3,
        "refine::enabled": "true",
        "refine::freeze_G": "false",
        "refine::fusion": "concat",
        "refine::hidden_dim": 4,
        "refine::num_blocks": 1,
        "registration::enabled": "true",
        "discriminator::enabled": "true",
        "discriminator::hidden_dim": 4,
        "train::skip_warmup": "true",
        "train::output_dir": folder,
    }
    words = ["g", *tiny_settings, *(str(word) for name, value in given.items() for word in (f"--{name}", value))]
    with logging_left_as_found():
        train([*words, "--train::num_epochs", "1"])
        train([*words, "--train::num_epochs", "2", "--resume"])
    return folder


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
    model = TrainedModel(str(run), device="cpu")
    ncct = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(model.network.eval())(ncct), model.network(ncct), atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in command.NEEDED), reason="ONNX isn't installed"
)
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
