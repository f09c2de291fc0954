"""Training and evaluation as functions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ncct_cta.api import InputError, Model, evaluate, train


@pytest.fixture
def tiny(cohort: Path, tiny_settings: list[str], tmp_path: Path) -> dict[str, object]:
    words = dict(zip(tiny_settings[::2], tiny_settings[1::2], strict=True))
    settings = {name[2:]: yaml.safe_load(value) for name, value in words.items()}
    return settings | {"data::datalist": str(cohort), "train::output_dir": str(tmp_path / "run")}


def test_a_training_tells_each_epoch_and_gives_a_folder_that_loads(tiny: dict[str, object]) -> None:
    told: list[tuple[int, float]] = []
    run = train(tiny, preset="g", on_epoch=lambda epoch, figures: told.append((epoch, figures["val_loss"])))
    assert [epoch for epoch, _ in told] == [1]
    assert Model.load(run, device="cpu").identity.startswith("checkpoint_best.pt sha256:")


@pytest.mark.parametrize(
    ("change", "said"),
    [({"train::lr": -1}, "train.lr"), ({"train::device": "cuda:99"}, "cuda:99")],
    ids=["found at once", "found with the parts"],
)
def test_what_is_wrong_is_raised_and_not_printed(
    change: dict[str, object], said: str, tiny: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=said):
        train(tiny | change)
    assert "error:" not in capsys.readouterr().err


def test_an_evaluation_gives_its_summary(trained_run: Path, tmp_path: Path) -> None:
    summary = evaluate({"G": trained_run}, output=tmp_path, jobs=1, report=False)
    assert "G" in summary["methods"]
    assert (tmp_path / "summary.csv").is_file()


def test_a_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        evaluate({"G": tmp_path / "gone"}, output=tmp_path)
