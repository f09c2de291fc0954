"""A run folder that version 0.1.0 wrote still infers, scores and goes on.

``files/run_of_0_1`` holds G and a G2 that sees three channels, made there on the cohort of ``conftest.py``:

    COMMON="--data::datalist phantom --data::patch_size=[32,32] --model::channels=[2,4] --model::num_res_units 0
        --ema::decay 0.5 --num_epochs 1 --batch_size 4 --device cpu"
    python -m ncct_cta.phantom --output phantom --cases 4 --seed 7 --shape 48 48 24 --spacing 7 7 10.5
    python -m ncct_cta.train g_small $COMMON --steps_per_epoch 100 --lr 2.0e-2 --warmup_steps 2 --output_dir runs/g
    python -m ncct_cta.train g2_small $COMMON --steps_per_epoch 20 --refine::hidden_dim 4 --refine::num_blocks 1
        --refine::lr 2.0e-2 --refine::warmup_steps 2 --pretrained_G runs/g/checkpoint_best.pt --output_dir runs/g2

``run_of_0_1_voxels.npy`` is what it made of ``phantom003`` in HU, every third voxel each way. It saw whole slices then,
and sees windows of the training patch's size since: that is why the voxels of the body are compared, and not to 1 HU.
The paths in ``config.yaml`` lead nowhere.
"""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from ncct_cta.evaluate import main as evaluate
from ncct_cta.infer import main as infer
from ncct_cta.train import main as train

FILES = Path(__file__).parent / "files"
RUN, SYNTHESISED = FILES / "run_of_0_1", FILES / "run_of_0_1_voxels.npy"
CASE = "phantom003"


def some_voxels(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)[::3, ::3, ::3].astype(int)


def check_synthesised(cohort: Path, output: Path, *words: str) -> None:
    """Infer, and compare the body with what was made of it then."""
    scan = cohort / f"{CASE}_ncct.nii.gz"
    infer(["--input", str(scan), "--output", str(output), "--device", "cpu", *words])
    (written,) = output.glob("*_syncta.nii.gz")
    then = np.load(SYNTHESISED).astype(int)
    body = some_voxels(scan) > -500
    change, difference = np.abs(some_voxels(scan) - then)[body], np.abs(some_voxels(written) - then)[body]
    assert change.mean() > 5  # else the NCCT itself would pass
    assert difference.mean() < change.mean() / 4


def test_its_folder_gives_the_same_voxels(cohort: Path, tmp_path: Path) -> None:
    check_synthesised(cohort, tmp_path, "--run", str(RUN))


@pytest.mark.parametrize("beside", [[], ["config.yaml"]], ids=["alone", "beside its settings"])
def test_its_checkpoint_gives_the_same_voxels(beside: list[str], cohort: Path, tmp_path: Path) -> None:
    for name in ["checkpoint_best.pt", *beside]:
        shutil.copy(RUN / name, tmp_path)
    check_synthesised(cohort, tmp_path / "out", "--checkpoint", str(tmp_path / "checkpoint_best.pt"))


def test_it_is_scored(cohort: Path, tmp_path: Path) -> None:
    words = ["--run", f"old={RUN}", "--datalist", str(cohort), "--output", str(tmp_path), "--device", "cpu"]
    evaluate([*words, "--no-report"])
    with open(tmp_path / "scores.csv", newline="") as file:
        errors = {row["method"]: float(row["vessel_mae_hu"]) for row in csv.DictReader(file)}
    assert errors.keys() == {"identity", "hu_remap", "old"}
    assert 0 < errors["old"] < errors["identity"] - 5


def test_it_goes_on(cohort: Path, tmp_path: Path) -> None:
    shutil.copy(RUN / "checkpoint_best.pt", tmp_path / "checkpoint_last.pt")
    settings = {
        "data::datalist": cohort,
        "data::patch_size": "[32, 32]",
        "data::cache_dir": tmp_path / "cache",
        "model::channels": "[2, 4]",
        "model::num_res_units": 0,
        "refine::hidden_dim": 4,
        "refine::num_blocks": 1,
        "train::num_epochs": 2,
        "train::steps_per_epoch": 2,
        "train::batch_size": 4,
        "train::device": "cpu",
        "train::output_dir": tmp_path,
    }
    train(["g2_small", "--resume", *(str(word) for name, value in settings.items() for word in (f"--{name}", value))])
    assert torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["trainer"]["epoch"] == 2
