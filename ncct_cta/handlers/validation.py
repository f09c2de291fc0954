"""Validate during training, and store the metrics where logs and checkpoints read them."""

from __future__ import annotations

from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import ValidationHandler as MonaiValidationHandler

from ..common.keys import QUICK_TERMS, VALIDATION_TERMS


class ValidationHandler(MonaiValidationHandler):
    """MONAI's handler, which also copies the evaluator's metrics to the trainer.

    Where the evaluator's data set has slabs of each case to give (``VolumeDataset``), whole cases are validated once in
    ``full_every`` epochs and at the end. What slabs give has names of its own (``keys.QUICK_TERMS``), so that no best
    checkpoint is chosen by comparing the two.

    Args:
        interval: epochs between validations.
        validator: the evaluator.
        full_every: epochs between those of whole cases.
    """

    def __init__(self, interval: int, validator: Evaluator, full_every: int = 1) -> None:
        super().__init__(interval=interval, validator=validator, epoch_level=True)
        self.every = interval
        self.full_every = full_every

    def attach(self, engine: Engine) -> None:
        """Validate after every ``interval`` epochs; clear the metrics when the next epoch starts."""
        super().attach(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._forget)

    def _forget(self, engine: Engine) -> None:
        for name in (*VALIDATION_TERMS, *QUICK_TERMS):
            engine.state.metrics.pop(name, None)

    def __call__(self, engine: Engine) -> None:
        """Validate, and pass the metrics on to the trainer."""
        assert self.validator is not None  # for the type checker: the constructor accepts nothing else
        dataset = getattr(self.validator.state.dataloader, "dataset", None)
        whole = self._is_whole(engine) or not getattr(dataset, "val_slices", 0)
        if dataset is not None:
            dataset.whole = whole
        # A process without a case must still take part in the next validation's sums.
        self.validator.state.epoch_length = None
        super().__call__(engine)
        found = self.validator.state.metrics
        engine.state.metrics.update(
            found if whole else {quick: found[name] for quick, name in QUICK_TERMS.items() if name in found}
        )

    def _is_whole(self, engine: Engine) -> bool:
        """Whether a whole validation fell due since the last one, or no other will follow."""
        epoch, last = engine.state.epoch, engine.state.max_epochs or 0
        return epoch // self.full_every > (epoch - self.every) // self.full_every or epoch + self.every > last
