"""Without MLflow its absence is said in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncct_cta.settings import TrainConfig
from ncct_cta.train import tracking


def test_a_missing_mlflow_is_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        tracking.database_of(TrainConfig(output_dir=str(tmp_path / "run")))
    assert "pip install 'ncct-cta[mlflow]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
