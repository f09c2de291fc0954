"""One training step of the reconstruction networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..keys import CTA, GNORM_G, LOSS, LUNG, NCCT, STAGES, TERMS
from ..networks import Stages
from ..precision import autocast


class SynthesisTrainer(SupervisedTrainer):
    """Train the cascade to turn an NCCT into the CTA.

    A step leaves in ``engine.state.output`` the batch on the device, the cascade's ``stages`` (detached) and the
    ``terms``: scalars by their name in the logs, among them the gradient's norm before clipping.

    Args:
        device: where the network lies.
        max_epochs: epochs in all.
        train_data_loader: batches as ``keys.py`` describes them.
        network: the cascade, from NCCT to ``Stages``.
        optimizer: of the trained parameters.
        loss_function: from (prediction, cta, lung) to a mapping with ``loss`` and its parts.
        lr_scheduler: stepped after every optimiser step.
        inferer: MONAI's way to call the network; default: directly.
        train_handlers: what happens around the iterations.
        scaler: scales the loss, for fp16; default: none.
        amp: mixed precision: off, bf16 or fp16.
        grad_clip: largest norm of the gradient; 0 doesn't clip.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: nn.Module,
        lr_scheduler: LRScheduler,
        inferer: Inferer | None = None,
        train_handlers: Sequence | None = None,
        scaler: torch.amp.GradScaler | None = None,
        amp: str = "off",
        grad_clip: float = 0.0,
    ) -> None:
        # Handlers attach last: they may look at everything that is set here.
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss_function,
            inferer=inferer,
            prepare_batch=to_device,
            decollate=False,
            optim_set_to_none=True,
        )
        self.lr_scheduler = lr_scheduler
        self.precision = amp
        self.grad_scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
        self.max_gradient_norm = grad_clip or float("inf")
        self._register_handlers(train_handlers or [])

    def _iteration(self, engine: Any, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        with autocast(self.state.device, self.precision):
            stages = self.inferer(batch[NCCT], self.network)
        terms = self.loss_function(stages.refined, batch[CTA], batch[LUNG])
        loss = terms[LOSS]
        detached = Stages(*(image.detach() for image in stages))
        self.state.output = {**batch, STAGES: detached, TERMS: {**terms, LOSS: loss.detach()}}
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.grad_scaler.scale(loss).backward()
        self.state.output[TERMS][GNORM_G] = self._step()
        return self.state.output

    def _step(self) -> torch.Tensor:
        """Clip, step, and give the gradient's norm before clipping."""
        self.grad_scaler.unscale_(self.optimizer)
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.max_gradient_norm)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()
        self.lr_scheduler.step()
        return norm.detach()


def to_device(batch: Mapping[str, Any], device: torch.device, non_blocking: bool = False) -> dict[str, Any]:
    """Move a batch's tensors; names stay."""
    return {
        key: value.to(device, non_blocking=non_blocking) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }
