"""Numbers that tell whether the training is healthy."""

from __future__ import annotations

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.engines.workflow import Workflow

from .. import keys
from ..errors import InputError


class DiagnosticsHandler:
    """Add to every step's terms what the stages changed, and stop when the loss isn't finite.

    ``residual_mag`` = mean |coarse - x| (0: G does nothing), ``l1_vs_cta`` = mean |coarse - y|, both in units of
    [-1, 1]; ``lr``.
    """

    def attach(self, engine: Workflow) -> None:
        """Look at every step: at the loss before the weights change, at the rest after."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self.check_loss)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def check_loss(self, engine: Workflow) -> None:
        """Stop before a step with a loss that isn't finite; the last checkpoint is still good.

        Raises:
            InputError: naming the loss, the step and its cases.
        """
        loss = engine.state.output[keys.TERMS][keys.LOSS]
        if not torch.isfinite(loss):
            cases = ", ".join(dict.fromkeys(engine.state.output[keys.CASE]))
            raise InputError(
                f"the loss is {float(loss)} at iteration {engine.state.iteration} (cases {cases}); stopped before the "
                "weights changed: look at these cases, lower train.lr or set train.amp off, then resume"
            )

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Add the terms of the step that has just ended."""
        output = engine.state.output
        coarse, ncct = output[keys.STAGES].coarse, output[keys.NCCT]
        output[keys.TERMS] |= {
            keys.RESIDUAL_MAG: (coarse - ncct).abs().mean(),
            keys.L1_VS_CTA: (coarse - output[keys.CTA]).abs().mean(),
            keys.LR: engine.optimizer.param_groups[0]["lr"],
        }
