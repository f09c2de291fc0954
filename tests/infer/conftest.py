from __future__ import annotations

from pathlib import Path

import pytest
import torch
from left_as_found import logging_left_as_found
from made_scans import edited

from ncct_cta.train.command import main as train


@pytest.fixture(scope="session")
def identity_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network changes nothing: with zeros for weights the residual is zero."""
    return edited(trained_run, tmp_path_factory.mktemp("runs") / "identity", weights=torch.zeros_like)


@pytest.fixture(scope="session")
def run_3d(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "g_3d"
    words = ["--data::datalist", str(cohort), "--train::output_dir", str(folder), "--model::spatial_dims", "3"]
    with logging_left_as_found():
        train(["g_small", *tiny_settings, *words, "--data::patch_size", "[16, 16, 16]", "--train::batch_size", "2"])
    return folder


@pytest.fixture
def scan(cohort: Path) -> Path:
    return cohort / "phantom003_ncct.nii.gz"
