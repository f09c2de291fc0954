"""Validation during training: when, of which epoch, and where its numbers go."""

from __future__ import annotations

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
