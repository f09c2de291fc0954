"""Two engines, one result."""

from __future__ import annotations

import importlib.util
import json
import shutil
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from made_scans import edited, synthesise

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO isn't installed (extra openvino)"
)


@needs_openvino
@pytest.mark.parametrize("kind", ["trained_run", "run_3d"])
def test_both_engines_write_the_same_within_1_hu_and_say_which_it_was(
    kind: str, request: pytest.FixtureRequest, scan: Path, tmp_path: Path
) -> None:
    hu = {}
    for engine in ("torch", "openvino"):
        synthesise(scan, tmp_path / engine, "--run", request.getfixturevalue(kind), "--engine", engine)
        record = json.loads((tmp_path / engine / "phantom003_syncta.json").read_text())
        assert ("openvino" in record["versions"]) is (engine == "openvino")
        hu[engine] = nib.load(tmp_path / engine / "phantom003_syncta.nii.gz").get_fdata()
    assert np.abs(hu["torch"] - nib.load(scan).get_fdata()).max() > 1  # or it would prove nothing
    assert np.abs(hu["torch"] - hu["openvino"]).max() <= 1


@needs_openvino
def test_what_one_engine_wrote_is_done_for_the_other(trained_run: Path, scan: Path, tmp_path: Path) -> None:
    synthesise(scan, tmp_path, "--run", trained_run, "--engine", "torch")
    written = (tmp_path / "phantom003_syncta.nii.gz").stat().st_mtime_ns
    synthesise(scan, tmp_path, "--run", trained_run, "--engine", "openvino")
    assert (tmp_path / "phantom003_syncta.nii.gz").stat().st_mtime_ns == written


@needs_openvino
def test_changed_weights_are_converted_anew(trained_run: Path, scan: Path, tmp_path: Path) -> None:
    run, hu = tmp_path / "run", {}
    for name, scale in (("before", 1.0), ("after", 1.5)):
        shutil.rmtree(run, ignore_errors=True)
        edited(trained_run, run, weights=partial(torch.mul, scale))
        synthesise(scan, tmp_path / name, "--run", run, "--engine", "openvino")
        hu[name] = nib.load(tmp_path / name / "phantom003_syncta.nii.gz").get_fdata()
    assert np.abs(hu["before"] - hu["after"]).max() > 1
    names = {path.name for path in run.rglob("*")}
    assert not [name for name in names if name.endswith((".xml", ".bin", ".onnx"))]  # nothing that could be outdated


@needs_openvino
def test_a_class_of_ones_own_runs_in_pytorch_alone(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ncct_cta.runs.trained_model.is_own_class", lambda architecture: True)
    with pytest.raises(SystemExit, match="2"):
        synthesise(tmp_path, tmp_path, "--run", trained_run, "--engine", "openvino", "--trust")
