"""Volumes smaller than the patch train, in 2-D and 3-D; the same file then infers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ncct_cta.train import main as train

SMALL = {
    "2-D": {"data::patch_size": "[64, 32]"},
    "3-D": {"data::patch_size": "[32, 32, 32]", "model::spatial_dims": "3", "train::batch_size": "2"},
}


@pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL.keys())
def test_volumes_smaller_than_the_patch_train(
    settings: dict[str, str], cohort: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    given = dict(zip(tiny_settings[::2], tiny_settings[1::2], strict=True))
    given |= {f"--{name}": value for name, value in settings.items()}
    places = ["--data::datalist", str(cohort), "--train::output_dir", str(tmp_path)]
    train(["g_small", *(word for pair in given.items() for word in pair), *places])
    with open(tmp_path / "metrics.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert 0 < float(row["loss"]) < 2
    assert 0 < float(row["val_mae_hu"]) < 500
