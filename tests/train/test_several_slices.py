"""A G that sees several slices: trained with every net, resumed, used and exported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from ncct_cta.common.errors import InputError
from ncct_cta.export import command
from ncct_cta.infer.command import main as infer
from ncct_cta.runs.ensemble import TrainedEnsemble
from ncct_cta.runs.names import LAST
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.train.command import main as train


@pytest.fixture(scope="module")
def run(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices") / "run"
    given = {
        "data::datalist": cohort,
        "model::in_slices": 3,
        "refine::enabled": "true",
        "refine::freeze_G": "false",
        "refine::base": "root",
        "refine::hidden_dim": 4,
        "refine::num_blocks": 1,
        "registration::enabled": "true",
        "discriminator::enabled": "true",
        "discriminator::hidden_dim": 4,
        "train::skip_warmup": "true",
        "train::output_dir": folder,
    }
    words = ["g", *tiny_settings, *(str(word) for name, value in given.items() for word in (f"--{name}", value))]
    train([*words, "--train::num_epochs", "1"])
    train([*words, "--train::num_epochs", "2", "--resume"])
    return folder


def test_a_run_records_it_and_a_scan_is_synthesised(run: Path, cohort: Path, tmp_path: Path) -> None:
    model = TrainedModel(str(run), device="cpu")
    assert model.settings.model.in_slices == model.inferer.in_slices == 3
    assert torch.load(run / LAST, weights_only=True)["trainer"]["epoch"] == 2
    infer(["--input", str(cohort / "datalist.json"), "--run", str(run), "--output", str(tmp_path), "--device", "cpu"])
    (written,) = tmp_path.glob("*_syncta.nii.gz")
    ncct = nib.load(cohort / written.name.replace("_syncta", "_ncct"))
    assert not np.array_equal(np.asarray(nib.load(written).dataobj), np.asarray(ncct.dataobj))


def test_it_cannot_join_models_that_see_one_slice(run: Path, trained_run: Path) -> None:
    models = [TrainedModel(str(folder), device="cpu") for folder in (trained_run, run)]
    with pytest.raises(InputError, match=r"its model\.in_slices is 3, and that of .* is 1"):
        TrainedEnsemble(models)


def test_as_torchscript_it_gives_the_same(run: Path) -> None:
    model = TrainedModel(str(run), device="cpu")
    ncct = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(model.network.eval())(ncct), model.network(ncct), atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in command.NEEDED), reason="ONNX isn't installed"
)
def test_as_onnx_it_takes_the_slices_as_channels(run: Path, tmp_path: Path) -> None:
    import onnxruntime

    command.main([str(run), "--output", str(tmp_path / "g.onnx")])  # compares at three sizes
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
    assert session.get_modelmeta().custom_metadata_map["in_slices"] == "3"
    (image,) = session.run(["cta"], {"ncct": np.zeros((1, 3, 32, 32), np.float32)})
    assert image.shape == (1, 1, 32, 32)
