"""A training writes into its own folder: through no link that a stranger left there, and over nobody's files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ncct_cta.train import main as train


def test_a_resumed_run_writes_through_no_link(trained_run: Path, cohort: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    mine = tmp_path / "mine"
    mine.mkdir()
    names = ["train.log", "metadata.json", "logging.conf", "config.yaml.tmp", "metrics.csv.tmp", ".lock"]
    names += [f".checkpoint_{kind}.pt.tmp" for kind in ("last", "best")]
    for name in names:
        (mine / name).write_text("mine")
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(mine / name)
    (run / "metrics.csv").rename(mine / "metrics.csv")
    before = (mine / "metrics.csv").read_bytes()
    for name in ("previews", "tensorboard"):
        shutil.rmtree(run / name)
        (mine / name).mkdir()
        (run / name).symlink_to(mine / name)
    (run / "metrics.csv").symlink_to(mine / "metrics.csv")
    words = ["--train::num_epochs", "2", "--train::output_dir", str(run), "--data::datalist", str(cohort)]
    train([str(run), "--resume", *words])
    assert (run / "metrics.csv").read_text().count("\n") == 3
    assert (mine / "metrics.csv").read_bytes() == before
    assert {(mine / name).read_text() for name in names} == {"mine"}
    for name in ("previews", "tensorboard"):
        assert list((mine / name).iterdir()) == []
        assert any((run / name).iterdir())


@pytest.mark.parametrize("name", ["config.yaml", "metadata.json", "logging.conf", "metrics.csv"])
def test_a_file_that_no_training_wrote_is_not_replaced(
    name: str, trained_run: Path, cohort: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / name).write_text("mine: 1\n")
    with pytest.raises(SystemExit) as refused:
        train([str(trained_run), "--train::output_dir", str(tmp_path), "--data::datalist", str(cohort)])
    assert refused.value.code == 2
    assert f"holds {name}, which no training wrote; set another train.output_dir" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine: 1\n"
