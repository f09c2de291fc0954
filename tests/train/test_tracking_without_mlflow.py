"""What needs no MLflow: its absence is said in a line, and a stranger's run folder leads it nowhere else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from ignite.engine import Engine
from monai.handlers import MLFlowHandler

from ncct_cta.common.errors import InputError
from ncct_cta.runs.names import BEST, LAST
from ncct_cta.settings import Settings, TrainConfig
from ncct_cta.train import tracking


def test_a_missing_mlflow_is_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="2"):
        tracking.database_of(TrainConfig(output_dir=str(tmp_path / "run")))
    assert "pip install 'ncct-cta[mlflow]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [BEST, "mlruns", "mlruns.db", "previews/epoch0001.png"])
def test_a_resumed_run_with_a_link_in_it_isnt_tracked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """MLflow would copy what the link points at, or write there."""
    monkeypatch.setattr(tracking, "find_spec", lambda name: True)
    run = tmp_path / "run"
    (run / "previews").mkdir(parents=True)
    (run / LAST).touch()
    train = TrainConfig(output_dir=str(run), resume=True)
    assert tracking.database_of(train).startswith("sqlite:")
    (run / name).symlink_to(tmp_path / "secret")
    with pytest.raises(SystemExit, match="2"):
        tracking.database_of(train)
    assert f"{run / name} is a link" in capsys.readouterr().err


def started(folder: Path, artifacts: str, uri: str = "sqlite:///runs.db") -> None:
    """Start a tracked training whose files MLflow would keep at ``artifacts``."""
    handler = object.__new__(MLFlowHandler)  # its constructor needs MLflow
    run = SimpleNamespace(info=SimpleNamespace(run_id="1", artifact_uri=artifacts), data=SimpleNamespace(params={}))
    handler.cur_run = run
    handler.client = SimpleNamespace(tracking_uri=uri, get_run=lambda _: run, log_param=lambda *_: None)
    trainer = Engine(lambda *_: None)
    settings = Settings.parse({"train": {"output_dir": str(folder)}})
    tracking.complete_tracking([handler], trainer, settings)
    trainer.run([0], max_epochs=1)


@pytest.mark.parametrize("place", ["file://{}/../mine", "{}/../mine", "http://evil.example/x", "file://host{}/mlruns"])
def test_a_database_that_keeps_files_elsewhere_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keeps its files in"):
        started(tmp_path / "run", place.format(tmp_path / "run"))


def test_the_runs_own_folder_and_a_server_may_keep_files(tmp_path: Path) -> None:
    started(tmp_path / "a run", (tmp_path / "a run" / "mlruns").as_uri())
    started(tmp_path / "run", "s3://ours/runs", uri="https://tracking.example")
