"""Validate during training, and store the metrics where logs and checkpoints read them."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import ValidationHandler as MonaiValidationHandler

from ..common.keys import VALIDATION_TERMS


class ValidationHandler(MonaiValidationHandler):
    """MONAI's handler, which also copies the evaluator's metrics to the trainer.

    Args:
        interval: epochs between validations.
        validator: the evaluator.
    """

    def __init__(self, interval: int, validator: Evaluator) -> None:
        super().__init__(interval=interval, validator=validator, epoch_level=True)

    def attach(self, engine: Engine) -> None:
        """Validate after every ``interval`` epochs; clear the metrics when the next epoch starts."""
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget)

    def _forget(self, engine: Engine) -> None:
        for name in VALIDATION_TERMS:
            engine.state.metrics.pop(name, None)

    def __call__(self, engine: Engine) -> None:
        """Validate, and pass the metrics on to the trainer."""
        assert self.validator is not None  # for the type checker: the constructor accepts nothing else
        # A process without a case must still take part in the next validation's sums.
        self.validator.state.epoch_length = None
        super().__call__(engine)
        engine.state.metrics.update(self.validator.state.metrics)
