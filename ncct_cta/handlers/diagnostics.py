"""Numbers that show whether a training is healthy."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from monai.engines.workflow import Workflow

from ..common import keys
from ..common.errors import InputError


class DiagnosticsHandler:
    """Add the changes made by the stages to each step's terms, and stop if the loss isn't finite.

    In units of [-1, 1]: ``residual_mag`` = mean |coarse - x| (0: G does nothing), ``l1_vs_cta`` = mean |coarse - y|;
    with G2 also ``inter_l1`` = mean |intermediate - y| and ``refine_delta`` = mean |refined - intermediate|. And
    ``lr``, of the first net in training, and ``lr_G`` and the like of each.

    Args:
        refine: whether there is a G2.
    """

    def __init__(self, refine: bool = False) -> None:
        self.refine = refine

    def attach(self, engine: Workflow) -> None:
        """Attach: the loss is checked before the weights change, the rest is added after the step."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self.check_loss)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def check_loss(self, engine: Workflow) -> None:
        """Stop before the optimiser step if the loss isn't finite; the last checkpoint is still good.

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

    def __call__(self, engine: Any) -> None:
        """Add the terms of the step that has just ended."""
        output = engine.state.output
        terms, cta = output[keys.TERMS], output[keys.CTA]
        coarse, intermediate, refined = output[keys.STAGES]
        terms[keys.RESIDUAL_MAG] = (coarse - output[keys.NCCT]).abs().mean()
        terms[keys.L1_VS_CTA] = (coarse - cta).abs().mean()
        if self.refine:
            terms[keys.INTER_L1] = (intermediate - cta).abs().mean()
            terms[keys.REFINE_DELTA] = (refined - intermediate).abs().mean()
        terms[keys.LR] = engine.update.lr
        adversary = getattr(engine, "adversary", None)
        lrs = engine.update.lrs | (adversary.update.lrs if adversary is not None else {})
        terms |= {f"{keys.LR}_{name}": lr for name, lr in lrs.items()}
