"""The inference engine: one bad case is one failure, and nothing is left half done."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_engine import CPU, Identity

from ncct_cta.common.errors import InputError
from ncct_cta.common.hu import HUWindow, to_int16_hu
from ncct_cta.data import Case
from ncct_cta.engines import InferenceEngine
from ncct_cta.engines import inference as engine_module
from ncct_cta.engines.inference import FAILURE
from ncct_cta.engines.output_record import Model
from ncct_cta.inferers import VolumeInferer
from ncct_cta.phantom.cohort import make_case


@pytest.fixture
def scans(tmp_path: Path) -> list[Case]:
    """Three small scans."""
    case = make_case(0, shape=(48, 48, 24), spacing=(7.0, 7.0, 10.5))
    paths = [tmp_path / "in" / f"{name}.nii.gz" for name in "abc"]
    paths[0].parent.mkdir()
    for path in paths:
        nib.save(nib.Nifti1Image(case.ncct, case.affine), path)
    return [Case(path.name.removesuffix(".nii.gz"), path) for path in paths]


def make_engine(cases: list[Case], output: Path, **arguments: Any) -> InferenceEngine:
    inferer = VolumeInferer(window=HUWindow(-1000, 600), patch_size=(16, 16), multiple=2)
    parts = {
        "network": Identity(shift=0.1),
        "inferer": inferer,
        "model": Model("weights.pt", "0" * 64, {}),
        **arguments,
    }
    return InferenceEngine(device=CPU, cases=cases, output_dir=output, **parts)


def failing_for(name: str, error: Exception, real: Callable) -> Callable:
    """A reader that raises for one file."""

    def read(path: Path, **more: Any) -> Any:
        if path.name.startswith(name):
            raise error
        return real(path, **more)

    return read


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            RuntimeError("secret"),
            r"a fault of this software \(RuntimeError in \S+, line \d+\); please report it \(--debug",
        ),
        (KeyError("secret"), r"a fault of this software \(KeyError in "),
        (MemoryError(), "there isn't enough memory for it; free some, or give --batch-size 1 or --device cpu"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "there isn't enough memory for it"),
    ],
)
def test_whatever_a_case_raises_is_its_failure_and_the_others_go_on(
    error: Exception, message: str, scans: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "read_volume", failing_for("b", error, engine_module.read_volume))
    engine = make_engine(scans, tmp_path / "out")
    engine.run()
    a, b, c = (output[FAILURE] for output in engine.outputs)
    assert (a, c) == (None, None)
    with pytest.raises(InputError, match=message):
        raise InputError(b)
    assert b.startswith(f"{scans[1].ncct}: ")
    assert "\n" not in b
    assert "secret" not in b  # it may be a path, and the path a patient's name
    assert len(b) < 300 + len(str(scans[1].ncct))
    assert sorted(path.name for path in (tmp_path / "out").glob("*.nii.gz")) == ["a_syncta.nii.gz", "c_syncta.nii.gz"]


def test_the_traceback_of_what_nobody_foresaw_is_logged_for_debugging(
    scans: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_module, "read_volume", failing_for("b", RuntimeError("x"), engine_module.read_volume))
    with caplog.at_level(logging.DEBUG, "ncct_cta"):
        make_engine(scans[1:2], tmp_path / "out").run()
    (record,) = (record for record in caplog.records if record.exc_info)
    assert (record.levelno, str(record.exc_info[1])) == (logging.DEBUG, "x")


@pytest.mark.parametrize("written", ["nifti", "record", "dicom"])
def test_what_cannot_be_written_leaves_nothing_of_its_case(
    written: str, scans: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine_module, "read_volume", lambda path, **_: engine_module_read(path))
    if written == "nifti":
        monkeypatch.setattr(engine_module, "write_like", full)
    if written == "record":
        monkeypatch.setattr(engine_module, "record_text", full)
    folder_written = []
    engine = make_engine(
        [Case("a", scans[0].ncct, series="1")],
        tmp_path / "out",
        write_dicom=full if written == "dicom" else lambda case, hu, folder: folder_written.append(folder),
    )
    monkeypatch.setattr(engine_module, "made_from", lambda case, model: {})
    engine.run()
    assert "No space left on device" in engine.outputs[0][FAILURE]
    assert list((tmp_path / "out").iterdir()) == []
    assert not folder_written  # DICOM takes its place last, when all else is on disk


engine_module_read = engine_module.read_volume


def test_a_prediction_that_is_not_finite_is_never_written(scans: list[Case], tmp_path: Path) -> None:
    engine = make_engine(scans[:1], tmp_path / "out", network=Identity(shift=float("nan")))
    engine.run()
    failure = engine.outputs[0][FAILURE]
    assert failure.startswith(f"{scans[0].ncct}: of what the network predicts ")
    assert "values are NaN or infinite, expected HU; its weights are damaged" in failure
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_hu_that_are_not_finite_are_never_rounded(value: float) -> None:
    with pytest.raises(InputError, match="1 of 3 values are NaN or infinite, expected HU"):
        to_int16_hu(np.array([1.5, value, -2.5], np.float32))


def test_a_scan_with_contrast_and_one_without_lungs_are_doubted_and_made(
    scans: list[Case], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = make_case(0, shape=(96, 96, 48), spacing=(3.5, 3.5, 6.0))
    abdomen = np.where(case.ncct < -400, case.ncct.min(), case.ncct).astype(np.int16)
    abdomen[case.lung > 0] = 40
    for path, hu in zip([each.ncct for each in scans], (case.ncct, case.cta, abdomen), strict=True):
        nib.save(nib.Nifti1Image(hu, case.affine), path)
    make_engine(scans, tmp_path / "out").run()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert warnings[0].startswith(f"{scans[1].ncct}: its blood has ")
    assert "is this a CTA?" in warnings[0]
    assert warnings[1].startswith(f"{scans[2].ncct}: no lungs are found in it")
    records = [json.loads((tmp_path / "out" / f"{name}_syncta.json").read_text())["remarks"] for name in "abc"]
    assert [len(remarks) for remarks in records] == [0, 1, 1]
