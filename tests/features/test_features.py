"""An encoder for the perceptual loss: trained on a cohort's masks, written, and used by a training."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from left_as_found import logging_left_as_found

from ncct_cta.common.hu import HUWindow
from ncct_cta.features.command import main as features
from ncct_cta.features.training import masks_of
from ncct_cta.losses.perceptual import read_features
from ncct_cta.train.command import main as train

WINDOW = (-1000.0, 600.0)


@pytest.fixture(scope="module")
def made(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("features") / "features.pt"
    words = ["g", *tiny_settings, "--data::datalist", str(cohort), "--output", str(path)]
    with logging_left_as_found():
        features([*words, "--steps", "60"])
    return path


def test_it_learns_to_find_the_masks(cohort: Path, tiny_settings: list[str], tmp_path: Path, capsys) -> None:
    words = ["g", *tiny_settings, "--data::datalist", str(cohort), "--output"]
    found = []
    for steps in (1, 200):
        features([*words, str(tmp_path / f"{steps}.pt"), "--steps", str(steps)])
        lines = [line.split() for line in capsys.readouterr().out.splitlines() if " Dice " in line]
        found.append({name: float(value) for name, _, value in lines})
    assert list(found[0]) == ["lung", "body", "vessel", "bone"]
    assert found[1]["lung"] > 0.8 > found[0]["lung"]
    assert found[1]["body"] > 0.9


def test_the_same_command_makes_the_same(made: Path, cohort: Path, tiny_settings: list[str], tmp_path: Path) -> None:
    words = ["g", *tiny_settings, "--data::datalist", str(cohort), "--output", str(tmp_path / "again.pt")]
    features([*words, "--steps", "60"])
    one, other = (read_features(str(path), 2, WINDOW).state_dict() for path in (made, tmp_path / "again.pt"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_bone_is_what_is_bright_in_the_body_without_contrast() -> None:
    window = HUWindow(*WINDOW)
    ncct = window.normalise(torch.tensor([240.0, 260.0, 260.0]).view(1, 1, 3, 1))
    body = torch.tensor([1.0, 1.0, 0.0]).view(1, 1, 3, 1)
    batch = {"ncct": ncct, "body": body, "lung": 0 * body, "vessel": 0 * body}
    assert masks_of(batch, window)[0, 3].flatten().tolist() == [0, 1, 0]


def test_a_training_with_it_logs_it_and_its_validation_counts_it(
    made: Path, cohort: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    words = ["g", *tiny_settings, "--data::datalist", str(cohort), "--loss::perceptual_features", str(made)]
    rows = []
    for weight in ("0", "1"):
        output = tmp_path / weight
        train([*words, "--loss::perceptual_weight", weight, "--train::lr", "0", "--train::output_dir", str(output)])
        with open(output / "metrics.csv", newline="") as file:
            rows.extend(csv.DictReader(file))
    assert "perceptual" not in rows[0]
    term = float(rows[1]["perceptual"])
    assert 0 < term < 1
    assert float(rows[1]["loss"]) == pytest.approx(float(rows[0]["loss"]) + term, rel=1e-3)
    assert float(rows[1]["val_loss"]) > float(rows[0]["val_loss"])


@pytest.mark.parametrize("path", ["", "nowhere.pt"])
def test_a_training_without_the_file_says_how_to_make_it(path: str, cohort: Path, capsys) -> None:
    words = ["g_small", "--data::datalist", str(cohort), "--loss::perceptual_weight", "1"]
    with pytest.raises(SystemExit):
        train([*words, "--loss::perceptual_features", path])
    assert "ncct-cta features PRESET" in capsys.readouterr().err
