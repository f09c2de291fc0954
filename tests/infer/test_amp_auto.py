"""``--amp auto``: what is chosen is said, and recorded as if it had been given."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
import yaml
from made_scans import edited, synthesise


@pytest.fixture(params=[(True, "bf16"), (False, "off")], ids=["native bf16", "no bf16"])
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The precision that suits a CPU with bf16, and one without."""
    native, expected = request.param
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    return str(expected)


def recorded(output: Path) -> str:
    return str(json.loads((output / "phantom003_syncta.json").read_text())["made_from"]["settings"]["amp"])


def test_it_is_said_and_recorded(
    chosen: str, trained_run: Path, scan: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "ncct_cta"):
        synthesise(scan, tmp_path, "--run", trained_run, "--amp", "auto")
    said = [record.getMessage() for record in caplog.records if "precision" in record.getMessage()]
    assert said == [f"mixed precision: {chosen}, as suits this cpu device"]
    assert recorded(tmp_path) == chosen
    written = (tmp_path / "phantom003_syncta.nii.gz").stat().st_mtime_ns
    synthesise(scan, tmp_path, "--run", trained_run, "--amp", chosen)
    assert (tmp_path / "phantom003_syncta.nii.gz").stat().st_mtime_ns == written


def test_a_run_that_was_trained_with_it_chooses_anew(
    chosen: str, trained_run: Path, scan: Path, tmp_path: Path
) -> None:
    run = edited(trained_run, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["train"]["amp"] = "auto"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    synthesise(scan, tmp_path / "out", "--run", run)
    assert recorded(tmp_path / "out") == chosen
