"""Log the inputs and outputs of every stage of a training step."""

from __future__ import annotations

import logging
import time

from ignite.engine import Events
from monai.engines.workflow import Workflow

from ..common import keys
from ..common.tracing import describe, memory

logger = logging.getLogger(__name__)


class DebugHandler:
    """At debug level: how long loading and the step took, memory, shapes and ranges of the first steps of an epoch.

    Args:
        enabled: if false, nothing is attached.
        steps: steps per epoch to log.
    """

    def __init__(self, enabled: bool = True, steps: int = 3) -> None:
        self.enabled = enabled
        self.steps = steps

    def attach(self, engine: Workflow) -> None:
        """Attach to the first steps of every epoch."""
        if self.enabled:
            engine.add_event_handler(Events.GET_BATCH_STARTED, self._loading)
            engine.add_event_handler(Events.ITERATION_STARTED, self._starting)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def _loading(self, engine: Workflow) -> None:
        self._load_start = time.perf_counter()

    def _starting(self, engine: Workflow) -> None:
        self._step_start = time.perf_counter()

    def __call__(self, engine: Workflow) -> None:
        """Log the step just completed."""
        state = engine.state
        if (state.iteration - 1) % state.epoch_length >= self.steps:
            return
        loading = self._step_start - self._load_start
        step = time.perf_counter() - self._step_start
        logger.debug("iteration %d: loading %.3f s, step %.3f s, %s", state.iteration, loading, step, memory())
        for name in (keys.CASE, keys.NCCT, keys.CTA, keys.LUNG):
            logger.debug("  %s: %s", name, describe(state.output[name]))
        for name, image in state.output[keys.STAGES]._asdict().items():
            logger.debug("  %s: %s", name, describe(image))
        terms = state.output[keys.TERMS]
        logger.debug("  terms: %s", "  ".join(f"{name} {float(value):.4g}" for name, value in terms.items()))
