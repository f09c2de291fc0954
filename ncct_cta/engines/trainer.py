"""One training step of the reconstruction networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer
from torch import nn

from ..common.keys import CTA, LOSS, LUNG, NCCT, STAGES, TERMS
from ..common.precision import autocast
from ..losses.alignment import AlignedReconstruction
from ..networks import Stages
from .updates import NetworkUpdate


class SynthesisTrainer(SupervisedTrainer):
    """Train the cascade to turn an NCCT into the CTA.

    A step leaves in ``engine.state.output`` the batch on the device, the cascade's ``stages`` (detached) and the
    ``terms``: scalars by their name in the logs, among them each net's gradient norm before clipping.

    Args:
        device: where the network lies.
        max_epochs: epochs in all.
        train_data_loader: batches as ``keys.py`` describes them.
        network: the cascade, from NCCT to ``Stages``.
        objective: the reconstruction loss, with registration if wanted.
        update: the optimiser's step.
        inferer: MONAI's way to call the network; default: directly.
        train_handlers: what happens around the iterations.
        amp: mixed precision: off, bf16 or fp16.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        objective: AlignedReconstruction,
        update: NetworkUpdate,
        inferer: Inferer | None = None,
        train_handlers: Sequence | None = None,
        amp: str = "off",
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=update.optimizer,
            loss_function=objective,
            inferer=inferer,
            prepare_batch=to_device,
            decollate=False,
        )
        self.objective = objective
        self.update = update
        self.precision = amp
        # Handlers attach last: they may look at everything that is set here.
        self._register_handlers(train_handlers or [])

    def _iteration(self, engine: Any, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        self.network.train()
        with autocast(self.state.device, self.precision):
            stages = self.inferer(batch[NCCT], self.network)
        terms, _ = self.objective(batch[NCCT], stages.refined, batch[CTA], batch[LUNG])
        loss = terms[LOSS]
        self.state.output = step_output(batch, stages, terms)
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.state.output[TERMS] |= self.update(loss)
        return self.state.output


def step_output(batch: Mapping[str, Any], stages: Stages, terms: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """What a step leaves behind: nothing in it holds the graph."""
    detached = Stages(*(image.detach() for image in stages))
    return {**batch, STAGES: detached, TERMS: {name: value.detach() for name, value in terms.items()}}


def to_device(batch: Mapping[str, Any], device: torch.device, non_blocking: bool = False) -> dict[str, Any]:
    """Move a batch's tensors; names stay."""
    return {
        key: value.to(device, non_blocking=non_blocking) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }
