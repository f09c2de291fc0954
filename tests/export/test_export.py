"""A trained network as an ONNX model, as ONNX Runtime sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ncct_cta.common.errors import InputError
from ncct_cta.export import command
from ncct_cta.export.command import main
from ncct_cta.runs.trained_model import TrainedModel


def test_what_is_not_installed_is_named(trained_run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(command, "NEEDED", ("a_library_that_nobody_has",))
    with pytest.raises(SystemExit) as ended:
        main([str(trained_run), "--output", str(tmp_path / "g.onnx")])
    assert ended.value.code == 2
    assert capsys.readouterr().err == ("error: export needs a_library_that_nobody_has; pip install 'ncct-cta[onnx]'\n")


@pytest.fixture(scope="module")
def exported(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in command.NEEDED:
        pytest.importorskip(name)
    path = tmp_path_factory.mktemp("onnx") / "g.onnx"
    main([str(trained_run), "--output", str(path)])
    return path


@pytest.mark.slow
def test_onnx_runtime_gives_what_pytorch_gives_at_any_size(exported: Path, trained_run: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    model = TrainedModel(str(trained_run), device="cpu")
    changes = []
    for shape in ((1, 1, 32, 32), (2, 1, 64, 48), (5, 1, 16, 80)):
        ncct = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
        with torch.inference_mode():
            expected = model.cascade(ncct).refined.numpy()
        (found,) = session.run(["cta"], {"ncct": ncct.numpy()})
        np.testing.assert_allclose(found, expected, atol=1e-5)
        changes.append(np.abs(expected - ncct.numpy()).max())
    assert min(changes) > 1e-3  # or it would prove nothing


@pytest.mark.slow
def test_the_metadata_say_what_goes_in(exported: Path, trained_run: Path) -> None:
    import onnx

    metadata = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    model = TrainedModel(str(trained_run), device="cpu")
    assert json.loads(metadata["hu_window"]) == list(model.settings.data.window)
    assert metadata["side_multiple"] == str(model.inferer.multiple)
    assert metadata["weights"] == model.identity
    assert "not for diagnosis" in metadata["purpose"]
    assert str(trained_run) not in exported.read_bytes().decode("latin-1")


@pytest.mark.slow
def test_a_model_that_gives_another_image_is_refused(exported: Path, trained_run: Path) -> None:
    from ncct_cta.export.onnx_model import largest_difference

    model = TrainedModel(str(trained_run), device="cpu")
    with torch.no_grad():
        next(model.network.parameters()).add_(1.0)
    with pytest.raises(InputError, match="gives another image than PyTorch"):
        largest_difference(model, exported)
