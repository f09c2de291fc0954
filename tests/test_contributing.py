"""CONTRIBUTING's worked examples, run as they stand there."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.runs.names import LAST

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FEWER = (
    "--train::num_epochs 1 --train::steps_per_epoch 2 --train::batch_size 2 --train::device cpu "
    "--data::patch_size [32,32] --model::channels [4,8] --model::num_res_units 0"
)


def section(heading: str) -> str:
    return re.split(r"^## ", TEXT.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a phantom cohort and the bundle, as the commands take them for granted."""
    folder = tmp_path_factory.mktemp("contributing")
    write_cohort(folder / "phantom", cases=4, seed=7, shape=(48, 48, 24), spacing=(7.0, 7.0, 10.5))
    (folder / "bundles").symlink_to(ROOT / "bundles")
    return folder


def follow(heading: str, folder: Path) -> None:
    """Write the section's files, and run its commands, trainings shortened."""
    for name, content in re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', section(heading), flags=re.S | re.M):
        (folder / name).write_text(content)
    for block in re.findall(r"^```bash\n(.*?)^```", section(heading), flags=re.S | re.M):
        for line in block.splitlines():
            words = shlex.split(line) + (shlex.split(FEWER) if "train" in line else [])
            environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
            done = subprocess.run(
                [sys.executable, *words[1:]], cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{line}\n{done.stderr[-3000:]}"


@pytest.mark.slow
def test_a_loss_is_added_as_written(folder: Path) -> None:
    follow("Add a loss", folder)
    with open(folder / "runs" / "edge" / "metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["edge"]) > 0


@pytest.mark.slow
def test_a_network_is_added_as_written(folder: Path) -> None:
    follow("Add a network", folder)
    weights = torch.load(folder / "runs" / "small_net" / LAST, weights_only=True)["network"]
    assert weights["generator.net.first.weight"].shape == (4, 1, 3, 3)
    assert list((folder / "synthetic_small_net").glob("*_syncta.nii.gz"))


@pytest.mark.slow
def test_a_metric_is_added_as_written(folder: Path) -> None:
    follow("Add a metric", folder)
    with open(folder / "scores_with_median" / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["vessel_median_error_hu"]) > 0 for row in rows)
