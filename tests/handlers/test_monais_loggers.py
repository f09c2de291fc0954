"""MONAI's own loggers on our trainer: the loss stands where they look for it."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path

import pytest
from monai.handlers import StatsHandler, TensorBoardStatsHandler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_engine import make_trainer, tiny_batch, tiny_cascade

from ncct_cta.common.keys import LOSS, TERMS


def test_stats_prints_the_loss_of_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    stats = StatsHandler(tag_name="train_loss", output_transform=itemgetter(LOSS))
    trainer = make_trainer(tiny_cascade(), [tiny_batch(), tiny_batch(1)], handlers=[stats])
    trainer.run()
    assert f"train_loss: {float(trainer.state.output[TERMS][LOSS]):.4f}" in capsys.readouterr().out


def test_tensorboard_draws_it(tmp_path: Path) -> None:
    board = TensorBoardStatsHandler(log_dir=str(tmp_path), tag_name="train_loss", output_transform=itemgetter(LOSS))
    trainer = make_trainer(tiny_cascade(), [tiny_batch(), tiny_batch(1)], handlers=[board])
    trainer.run()
    board.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    drawn = events.Scalars("train_loss")
    assert [event.step for event in drawn] == [1, 2]
    assert drawn[-1].value == pytest.approx(float(trainer.state.output[LOSS]))
