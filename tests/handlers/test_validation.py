"""Validation during training: when, of which epoch, and where its numbers go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ignite.engine import Events
from monai.engines import Evaluator
from tiny_engine import CPU, Identity, make_trainer, tiny_batch

from ncct_cta.common.keys import VAL_LOSS, VAL_MAE_HU
from ncct_cta.handlers import ValidationHandler


class CountingEvaluator(Evaluator):
    """Counts its runs instead of validating."""

    def __init__(self) -> None:
        super().__init__(device=CPU, val_data_loader=[])
        self.epochs: list[int] = []

    def run(self, global_epoch: int = 1) -> None:
        self.epochs.append(global_epoch)
        self.state.metrics = {VAL_LOSS: 1.0 / global_epoch, VAL_MAE_HU: 10.0 * global_epoch}


def seen(interval: int, epochs: int) -> tuple[list[int], list[dict[str, float]]]:
    """The epochs that were validated, and the trainer's metrics at the end of each."""
    evaluator = CountingEvaluator()
    trainer = make_trainer(Identity(), [tiny_batch()], epochs=epochs, handlers=[ValidationHandler(interval, evaluator)])
    metrics = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: metrics.append(dict(engine.state.metrics)))
    trainer.run()
    return evaluator.epochs, metrics


def test_the_trainer_gets_the_numbers_of_each_validation():
    epochs, metrics = seen(interval=1, epochs=3)
    assert epochs == [1, 2, 3]
    assert [row[VAL_LOSS] for row in metrics] == [1.0, 0.5, 1 / 3]
    assert [row[VAL_MAE_HU] for row in metrics] == [10.0, 20.0, 30.0]


def test_an_epoch_without_validation_has_no_numbers_of_an_older_one():
    epochs, metrics = seen(interval=2, epochs=5)
    assert epochs == [2, 4]
    assert [VAL_LOSS in row for row in metrics] == [False, True, False, True, False]


class OfSlabs(CountingEvaluator):
    """Notes whether whole cases were asked for."""

    def __init__(self, val_slices: int) -> None:
        super().__init__()
        self.state.dataloader = SimpleNamespace(dataset=SimpleNamespace(val_slices=val_slices, whole=True))
        self.whole: list[bool] = []

    def run(self, global_epoch: int = 1) -> None:
        super().run(global_epoch)
        self.whole.append(self.state.dataloader.dataset.whole)


def run_of_slabs(*, val_slices: int, interval: int, full_every: int, epochs: int) -> tuple[OfSlabs, list[Any]]:
    evaluator = OfSlabs(val_slices)
    handler = ValidationHandler(interval, evaluator, full_every)
    trainer = make_trainer(Identity(), [tiny_batch()], epochs=epochs, handlers=[handler])
    metrics: list[Any] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: metrics.append(dict(engine.state.metrics)))
    trainer.run()
    return evaluator, metrics


@pytest.mark.parametrize(
    ("interval", "full_every", "epochs", "whole"),
    [
        (1, 3, 7, [False, False, True, False, False, True, True]),
        (2, 3, 9, [False, True, True, True]),  # after 3: 4, after 6: 6, and no other after 8
        (1, 1, 3, [True, True, True]),
        (1, 100, 3, [False, False, True]),
    ],
)
def test_whole_cases_are_validated_now_and_then_and_last(interval, full_every, epochs, whole):
    evaluator, _ = run_of_slabs(val_slices=8, interval=interval, full_every=full_every, epochs=epochs)
    assert evaluator.whole == whole


def test_without_slabs_each_validation_is_whole():
    evaluator, metrics = run_of_slabs(val_slices=0, interval=1, full_every=10, epochs=3)
    assert evaluator.whole == [True] * 3
    assert all(VAL_LOSS in row for row in metrics)


def test_what_slabs_give_has_names_that_choose_no_best_epoch():
    _, metrics = run_of_slabs(val_slices=8, interval=1, full_every=2, epochs=4)
    assert [VAL_LOSS in row for row in metrics] == [False, True, False, True]
    assert [row.get(f"quick_{VAL_LOSS}") for row in metrics] == [1.0, None, pytest.approx(1 / 3), None]
