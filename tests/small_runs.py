"""Small runs with every net, and what each of them is asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from left_as_found import logging_left_as_found

from ncct_cta.export import command as export
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.train.command import main as train

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in export.NEEDED), reason="ONNX isn't installed"
)


def trained_and_resumed(cohort: Path, tiny_settings: Sequence[str], folder: Path, own: Mapping[str, Any]) -> Path:
    """Train G, G2, R and D for an epoch, and go on for another; G sees three slices."""
    given = {
        "data::datalist": cohort,
        "model::in_slices": 3,
        "refine::enabled": "true",
        "refine::freeze_G": "false",
        "refine::hidden_dim": 4,
        "refine::num_blocks": 1,
        "registration::enabled": "true",
        "discriminator::enabled": "true",
        "discriminator::hidden_dim": 4,
        "train::skip_warmup": "true",
        "train::output_dir": folder,
        **own,
    }
    words = ["g", *tiny_settings, *(str(word) for name, value in given.items() for word in (f"--{name}", value))]
    with logging_left_as_found():
        train([*words, "--train::num_epochs", "1"])
        train([*words, "--train::num_epochs", "2", "--resume"])
    return folder


def scripted_and_plain(run: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """What a run's network makes of noise as TorchScript, and as it is."""
    model = TrainedModel(str(run), device="cpu")
    ncct = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        return torch.jit.script(model.network.eval())(ncct), model.network(ncct)
