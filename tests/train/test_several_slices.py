"""A G that sees several slices: trained with every net, resumed, used and exported."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from small_runs import needs_onnx, scripted_and_plain, trained_and_resumed

from ncct_cta.common.errors import InputError
from ncct_cta.export import command
from ncct_cta.infer.command import main as infer
from ncct_cta.runs.ensemble import TrainedEnsemble
from ncct_cta.runs.names import BEST, LAST
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.train import main as train


@pytest.fixture(scope="module")
def run(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slices") / "run"
    return trained_and_resumed(cohort, tiny_settings, folder, {"refine::base": "root"})


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


def started_from(checkpoint: Path, cohort: Path, tiny_settings: list[str], output: Path, *words: str) -> Path:
    """The folder of a training that starts from a checkpoint and doesn't move from it."""
    still = ["--train::lr", "0", "--train::weight_decay", "0", "--train::num_epochs", "1"]
    given = ["--data::datalist", str(cohort), "--train::output_dir", str(output)]
    train(["g", *given, *tiny_settings, *still, "--train::pretrained_G", str(checkpoint), *words])
    return output


def test_weights_of_one_slice_predict_the_same_at_first(
    trained_run: Path, cohort: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    run = started_from(trained_run / BEST, cohort, tiny_settings, tmp_path / "run", "--model::in_slices", "3")
    one, three = (TrainedModel(str(folder), device="cpu") for folder in (trained_run, run))
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(three.network(x), one.network(x[:, 1:2]), atol=1e-6)
        assert (three.network(x) - x[:, 1:2]).abs().max() > 1e-4
    assert three.settings.model.in_slices == 3


def test_weights_of_more_slices_are_refused(
    run: Path, cohort: Path, tiny_settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        started_from(run / LAST, cohort, tiny_settings, tmp_path / "run")
    assert "model.in_slices is 1, expected 3; set it so" in capsys.readouterr().err


def test_as_torchscript_it_gives_the_same(run: Path) -> None:
    assert torch.allclose(*scripted_and_plain(run), atol=1e-6)


@pytest.mark.slow
@needs_onnx
def test_as_onnx_it_takes_the_slices_as_channels(run: Path, tmp_path: Path) -> None:
    import onnxruntime

    command.main([str(run), "--output", str(tmp_path / "g.onnx")])  # compares at three sizes
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx")
    assert session.get_modelmeta().custom_metadata_map["in_slices"] == "3"
    (image,) = session.run(["cta"], {"ncct": np.zeros((1, 3, 32, 32), np.float32)})
    assert image.shape == (1, 1, 32, 32)
