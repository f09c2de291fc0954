"""What a run tells: a row, TensorBoard scalars and a log line an epoch, and a progress bar."""

from __future__ import annotations

import csv
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ignite.engine import Events
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_engine import make_trainer, tiny_batch, tiny_cascade

from ncct_cta.common import keys
from ncct_cta.common.errors import InputError
from ncct_cta.common.terminal import threads_keep_quiet
from ncct_cta.handlers import DiagnosticsHandler, MetricsLogHandler, ProgressBarHandler
from ncct_cta.handlers.pace import GPU_MIB, STEP_SECONDS, Pace

MEASURED = {keys.LOSS, keys.L1, keys.SSIM, keys.GNORM_G, keys.RESIDUAL_MAG, keys.L1_VS_CTA, keys.LR, keys.LR_G}


def run(folder: Path, *, epochs: int, start: int = 0, until: int | None = None) -> list[float]:
    """Train two steps an epoch; give the loss of every step. ``until`` kills the run after that many epochs."""
    batches = [tiny_batch(0), tiny_batch(1)]
    handler = MetricsLogHandler(folder)
    trainer = make_trainer(tiny_cascade(), batches, epochs=epochs, handlers=[DiagnosticsHandler(), handler])
    trainer.state.epoch, trainer.state.iteration = start, start * len(batches)
    trainer.state.metrics[keys.VAL_LOSS] = 0.25  # as a validation leaves it
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output[keys.TERMS][keys.LOSS]))
    )
    if until is not None:
        trainer.add_event_handler(Events.EPOCH_COMPLETED(once=until), lambda engine: engine.terminate())
    trainer.run()
    return losses


def read(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def scalars(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return events


def test_a_row_holds_the_means_of_its_epoch(tmp_path):
    losses = run(tmp_path, epochs=2)
    rows = read(tmp_path)
    assert list(rows[0]) == ["epoch", "iteration", *keys.TRAINING_TERMS, *keys.VALIDATION_TERMS, *keys.QUICK_TERMS]
    assert [(row["epoch"], row["iteration"]) for row in rows] == [("1", "2"), ("2", "4")]
    for row, pair in zip(rows, (losses[:2], losses[2:]), strict=True):
        assert float(row[keys.LOSS]) == pytest.approx(sum(pair) / 2, rel=1e-4)
        assert float(row[keys.VAL_LOSS]) == 0.25
        assert float(row[keys.LR]) == 0.01
        assert row[keys.VAL_MAE_HU] == ""  # not measured: empty, not zero


def test_tensorboard_carries_the_same_names_and_values(tmp_path):
    run(tmp_path, epochs=2)
    events, rows = scalars(tmp_path), read(tmp_path)
    written = set(events.Tags()["scalars"])
    assert written >= MEASURED | {keys.VAL_LOSS}
    assert written - {STEP_SECONDS, GPU_MIB} <= {*keys.TRAINING_TERMS, *keys.VALIDATION_TERMS}
    for name in MEASURED:
        drawn = events.Scalars(name)
        assert [event.step for event in drawn] == [2, 4]
        assert [event.value for event in drawn] == pytest.approx([float(row[name]) for row in rows], rel=1e-4)


def test_a_resumed_run_replaces_the_rows_beyond_its_checkpoint(tmp_path):
    run(tmp_path, epochs=3)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("4,8,0.1")  # a row that was being written when the run was killed
    run(tmp_path, epochs=3, start=1)
    assert [row["epoch"] for row in read(tmp_path)] == ["1", "2", "3"]
    assert [event.step for event in scalars(tmp_path).Scalars(keys.LOSS)] == [2, 4, 6]


def test_a_resumed_run_has_one_event_file_whose_points_keep_their_time(tmp_path):
    run(tmp_path, epochs=2)
    before = scalars(tmp_path).Scalars(keys.LOSS)
    run(tmp_path, epochs=3, start=2)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    after = scalars(tmp_path).Scalars(keys.LOSS)
    assert [event.step for event in after] == [2, 4, 6]
    assert [(event.wall_time, event.value) for event in after[:2]] == [
        (event.wall_time, event.value) for event in before
    ]
    run(tmp_path, epochs=1)  # a new run in the same folder has no curves of the old one
    assert [event.step for event in scalars(tmp_path).Scalars(keys.LOSS)] == [2]


def test_an_event_file_that_was_cut_short_does_not_stop_a_resumed_run(tmp_path):
    run(tmp_path, epochs=2)
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-7])  # killed in the middle of a point
    run(tmp_path, epochs=3, start=2)
    assert [event.step for event in scalars(tmp_path).Scalars(keys.LOSS)][-1] == 6


def test_the_pace_is_in_the_log_and_in_tensorboard_and_not_in_the_table(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "ncct_cta"):
        run(tmp_path, epochs=2)
    drawn = scalars(tmp_path).Scalars(STEP_SECONDS)
    assert [event.step for event in drawn] == [2, 4]
    assert all(0 < event.value < 10 for event in drawn)
    assert any(f"{STEP_SECONDS} " in message for message in caplog.messages)
    assert STEP_SECONDS not in (tmp_path / "metrics.csv").read_text()


def test_the_pace_is_that_of_the_steps_without_what_comes_after_them(monkeypatch):
    times = iter([10.0, 11.0, 13.0])  # the epoch's start, its two steps
    monkeypatch.setattr("ncct_cta.handlers.pace.time.perf_counter", lambda: next(times))
    pace, trainer = Pace(), make_trainer(tiny_cascade(), [tiny_batch(0), tiny_batch(1)])
    pace.attach(trainer)
    trainer.run()
    assert pace.figures[STEP_SECONDS] == 1.5


def test_every_net_s_learning_rate_has_a_column(tmp_path):
    run(tmp_path, epochs=1)
    (row,) = read(tmp_path)
    assert float(row[keys.LR_G]) == float(row[keys.LR])
    assert row[keys.LR_D] == row[keys.LR_G2] == ""


def test_a_half_written_row_does_not_stop_a_resumed_run(tmp_path):
    run(tmp_path, epochs=2)
    text = (tmp_path / "metrics.csv").read_text()
    (tmp_path / "metrics.csv").write_text(text.rstrip("\n") + "\r\n3")  # killed in the middle of a row
    run(tmp_path, epochs=3, start=2)
    assert [row["epoch"] for row in read(tmp_path)] == ["1", "2", "3"]


def test_a_new_run_starts_a_new_table(tmp_path):
    run(tmp_path, epochs=2)
    run(tmp_path, epochs=1)
    assert [row["epoch"] for row in read(tmp_path)] == ["1"]


def test_every_epoch_is_a_line_in_the_log(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "ncct_cta"):
        run(tmp_path, epochs=2)
    lines = [record.getMessage() for record in caplog.records if record.name == "ncct_cta.handlers.logs"]
    assert len(lines) == 2
    assert lines[1].startswith("epoch 2/2  loss ")
    assert "val_loss 0.25" in lines[1]


def test_the_progress_bar_shows_loss_epoch_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    trainer = make_trainer(tiny_cascade(), [tiny_batch()] * 4, epochs=2, handlers=[ProgressBarHandler(every=1)])
    trainer.run()
    last = capsys.readouterr().err.split("\r")[-1]
    loss = float(trainer.state.output[keys.TERMS][keys.LOSS])
    assert "training: 100%" in last
    assert "8/8" in last
    assert "epoch=2" in last
    assert f"loss={loss:.4f}" in last
    assert "<00:00" in last


def test_a_redirected_log_holds_no_progress_bar(capsys):
    make_trainer(tiny_cascade(), [tiny_batch()] * 4, epochs=2, handlers=[ProgressBarHandler(every=1)]).run()
    assert capsys.readouterr().err == ""


def test_the_progress_bar_of_a_resumed_run_starts_where_it_was(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    trainer = make_trainer(tiny_cascade(), [tiny_batch()] * 4, epochs=3, handlers=[ProgressBarHandler()])
    trainer.state.epoch, trainer.state.iteration = 2, 8
    trainer.run()
    shown = capsys.readouterr().err
    assert "8/12" in shown
    assert "12/12" in shown


def test_the_progress_bar_hands_an_error_on():
    trainer = make_trainer(tiny_cascade(), [tiny_batch()], handlers=[ProgressBarHandler()])

    def fail(engine):
        raise RuntimeError("out of memory")

    trainer.add_event_handler(Events.ITERATION_COMPLETED, fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.run()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As a disk that is full once a file has this many bytes."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with threads_keep_quiet(OSError):
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_full_disk_is_named_and_leaves_whole_rows(tmp_path):
    run(tmp_path / "whole", epochs=1)
    header = (tmp_path / "whole" / "metrics.csv").read_bytes().splitlines(keepends=True)[0]
    with (
        files_of_at_most(len(header) + 20),
        pytest.raises(InputError, match=r"figures of epoch 1 can't .* \(File too la"),
    ):
        run(tmp_path / "full", epochs=1)
    assert (tmp_path / "full" / "metrics.csv").read_bytes() == header


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_disk_that_is_full_at_the_start_leaves_what_was_there(tmp_path):
    run(tmp_path, epochs=2)  # after which the events are the larger file
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    size = len((tmp_path / "metrics.csv").read_bytes())
    with files_of_at_most(size + 20), pytest.raises(InputError, match=r"figures up to epoch 2 can't .* \(File too la"):
        run(tmp_path, epochs=3, start=2)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_row_that_a_kill_cut_within_its_epoch_is_no_row(tmp_path):
    run(tmp_path, epochs=1)
    with open(tmp_path / "metrics.csv", "a") as file:
        file.write("1")  # of 12
    run(tmp_path, epochs=2, start=1)
    assert [row["epoch"] for row in read(tmp_path)] == ["1", "2"]


def test_a_run_that_ends_before_it_starts_ends_with_its_own_error() -> None:
    """The disk may be full when another handler writes its first file."""
    trainer = make_trainer(tiny_cascade(), [tiny_batch()])

    @trainer.on(Events.STARTED)
    def fail() -> None:
        raise InputError("the disk is full")

    ProgressBarHandler().attach(trainer)
    with pytest.raises(InputError, match="the disk is full"):
        trainer.run()
