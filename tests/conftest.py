"""A tiny phantom cohort and a run trained on it, made once a session: what most tests stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from left_as_found import logging_left_as_found

from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.train.command import main as train

# Two steps of a network of two levels: everything runs, nothing is learned.
TINY = {
    "data::patch_size": "[32, 32]",
    "data::num_workers": "0",
    "model::channels": "[4, 8]",
    "model::num_res_units": "0",
    "train::num_epochs": "1",
    "train::steps_per_epoch": "2",
    "train::batch_size": "4",
    "train::lr": "1.0e-2",
    "train::device": "cpu",
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Small tensors gain nothing from threads, and workers side by side would fight for the cores.
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _logging_left_as_found() -> Iterator[None]:
    with logging_left_as_found():
        yield


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of four phantoms with ``datalist.json``: two to train, one to validate, one to test."""
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(folder, cases=4, seed=7, shape=(48, 48, 24), spacing=(7.0, 7.0, 10.5))
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A dask cluster of two worker processes on this machine; skips where dask isn't installed."""
    distributed = pytest.importorskip("distributed")
    options = {"threads_per_worker": 1, "dashboard_address": None, "memory_limit": "4GB"}
    with distributed.LocalCluster(n_workers=2, processes=True, **options) as local:
        yield local


@pytest.fixture(scope="session")
def tiny_settings() -> list[str]:
    """Command-line words that make any training tiny; add the datalist and the output folder."""
    return [word for key, value in TINY.items() for word in (f"--{key}", value)]


@pytest.fixture(scope="session")
def trained_run(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny run. Read only: copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("runs") / "g"
    with logging_left_as_found():
        train(["g", *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(folder)])
    return folder
