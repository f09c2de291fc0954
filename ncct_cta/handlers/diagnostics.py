"""Numbers that show whether a training is healthy."""

from __future__ import annotations

import math
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
        self.unchecked: list[tuple[int, list[str], torch.Tensor]] = []  # iteration, cases, loss

    def attach(self, engine: Workflow) -> None:
        """Attach: the loss is checked before the weights change, the rest is added after the step."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self.check_loss)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def check_loss(self, engine: Any) -> None:
        """Stop if the loss isn't finite, before the optimiser step; the last checkpoint is still good.

        Where the update leaves such a step out on the device, losses are read once in ``check_every`` steps, and before
        an epoch ends.

        Raises:
            InputError: naming the loss, the step and its cases.
        """
        output, state = engine.state.output, engine.state
        self.unchecked.append((state.iteration, output[keys.CASE], output[keys.TERMS][keys.LOSS]))
        if not self._is_due(engine):
            return
        losses = torch.stack([loss for _, _, loss in self.unchecked]).tolist()
        steps, self.unchecked = self.unchecked, []
        for (iteration, names, _), loss in zip(steps, losses, strict=True):
            if not math.isfinite(loss):
                cases = ", ".join(dict.fromkeys(names))
                raise InputError(
                    f"the loss is {loss} at iteration {iteration} (cases {cases}); stopped before the weights changed: "
                    "look at these cases, lower train.lr or set train.amp off, then resume"
                )

    def _is_due(self, engine: Any) -> bool:
        done, every, length = engine.state.iteration, engine.update.check_every, engine.state.epoch_length
        return done % every == 0 or (bool(length) and done % length == 0)

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
        if self._is_due(engine):
            engine.update.check()
            if hasattr(engine, "adversary"):
                engine.adversary.update.check()
