"""A run's ``config.yaml`` and the settings in its checkpoint must be of one training: weights fit one window alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from ncct_cta.common.errors import InputError
from ncct_cta.runs.names import BEST, CONFIG, SETTINGS
from ncct_cta.runs.trained_model import TrainedModel


def with_config(trained_run: Path, folder: Path, section: str, **values: object) -> Path:
    shutil.copytree(trained_run, folder)
    config = yaml.safe_load((folder / CONFIG).read_text())
    config[section] |= values
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize(
    ("section", "values", "words"),
    [
        ("data", {"window": [-500, 500]}, r"data\.window is \[-500\.?0?, 500\.?0?\], expected \[-1000"),
        ("model", {"residual_output": False}, r"model\.residual_output is False, expected True"),
    ],
)
def test_settings_that_arent_the_weights_are_refused(
    trained_run: Path, tmp_path: Path, section: str, values: dict, words: str
) -> None:
    run = with_config(trained_run, tmp_path / "run", section, **values)
    with pytest.raises(InputError, match=words):
        TrainedModel(str(run), device="cpu")
    TrainedModel(checkpoint=str(run / BEST), device="cpu")  # whose own settings are used


def test_a_checkpoint_of_another_training_is_refused_beside_a_run(trained_run: Path, tmp_path: Path) -> None:
    run = with_config(trained_run, tmp_path / "run", "data", window=[-500, 500])
    with pytest.raises(InputError, match="expected"):
        TrainedModel(str(run), str(trained_run / BEST), device="cpu")


def test_another_preprocessing_than_the_checkpoints_is_refused(trained_run: Path, tmp_path: Path) -> None:
    run = with_config(trained_run, tmp_path / "run", "data")
    checkpoint = torch.load(run / BEST, weights_only=True)
    checkpoint[SETTINGS]["preprocessing"] = [{"_target_": "theirs.Step"}]
    torch.save(checkpoint, run / BEST)
    with pytest.raises(InputError, match="preprocessed by another list"):
        TrainedModel(str(run), device="cpu")


def test_settings_that_the_weights_dont_depend_on_may_differ(trained_run: Path, tmp_path: Path) -> None:
    run = with_config(trained_run, tmp_path / "run", "data", datalist="elsewhere", val_fraction=0.5)
    assert TrainedModel(str(run), device="cpu").settings.data.datalist == "elsewhere"
