"""Tracking a training with MONAI's own MLflow handlers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from monai.bundle import ConfigWorkflow

from ncct_cta.runs.names import BEST
from ncct_cta.settings import TrainConfig
from ncct_cta.settings.places import bundle_config, bundle_root
from ncct_cta.train.command import main as train
from ncct_cta.train.tracking import database_of

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")  # mlflow-skinny comes without it


@pytest.fixture(scope="module")
def tracked(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tracked run, started where nothing else lies."""
    place = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        places = ("--data::datalist", str(cohort), "--train::output_dir", "g")
        train(["g", *tiny_settings, *places, "--tracking", "mlflow"])
    return place / "g"


@pytest.fixture(scope="module")
def client(tracked: Path):
    return mlflow.MlflowClient(tracking_uri=database_of(TrainConfig(output_dir=str(tracked), resume=True)))


@pytest.fixture(scope="module")
def run(client):
    (experiment,) = client.search_experiments(filter_string="name = 'monai_experiment'")
    (run,) = client.search_runs(experiment.experiment_id)
    return run


def test_a_run_is_finished_and_named_by_its_folder(run) -> None:
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "g"


def test_its_metrics_are_those_of_the_run(run, client) -> None:
    assert math.isfinite(run.data.metrics["val_vessel_mae_hu"])
    steps = client.get_metric_history(run.info.run_id, "train_loss")
    assert [metric.step for metric in steps] == [1, 2]
    assert sum(metric.value for metric in steps) / 2 == pytest.approx(run.data.metrics["loss"], rel=1e-5)


def test_what_a_run_does_not_have_is_no_metric(run) -> None:
    assert "d_loss" not in run.data.metrics  # there is no D in it


def test_its_settings_are_kept(run) -> None:
    assert run.data.params["train.lr"] == "0.01"
    assert run.data.params["model.channels"] == "[4, 8]"


def test_its_files_are_kept(run, client) -> None:
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert kept == {"config.yaml", "metrics.csv", "epoch0001.png", BEST}


def test_nothing_is_written_outside_the_folder(tracked: Path) -> None:
    assert [path.name for path in tracked.parent.iterdir()] == ["g"]
    assert not (Path(bundle_root()) / "eval").exists()


def test_a_resumed_run_is_tracked_on(
    tracked: Path, cohort: Path, tiny_settings: list[str], client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tracked.parent)
    places = ("--data::datalist", str(cohort), "--train::output_dir", "g")
    train(["g", *tiny_settings, *places, "--train::num_epochs", "2", "--resume", "--tracking", "mlflow"])
    (experiment,) = client.search_experiments(filter_string="name = 'monai_experiment'")
    newest = client.search_runs(experiment.experiment_id)[0]
    assert newest.info.status == "FINISHED"
    assert newest.data.params["train.num_epochs"] == "2"


def test_a_run_that_would_be_moved_aside_is_not_tracked(tracked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        database_of(TrainConfig(output_dir=str(tracked)))
    assert "holds a run already, expected a new folder" in capsys.readouterr().err


def test_monais_command_tracks_too(
    cohort: Path, tiny_settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = dict(zip(tiny_settings[::2], tiny_settings[1::2], strict=True))
    overrides = {name[2:]: yaml.safe_load(value) for name, value in given.items()}
    overrides |= {"data::datalist": str(cohort), "train::output_dir": "run"}
    workflow = ConfigWorkflow(
        config_file=bundle_config("train.yaml"), run_id="training", logging_file=False, tracking="mlflow", **overrides
    )
    workflow.initialize()
    workflow.run()
    assert (tmp_path / "run" / "mlruns.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
