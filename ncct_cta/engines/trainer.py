"""One training step of the reconstruction networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.inferers import Inferer
from torch import nn

from ..common.errors import is_news
from ..losses import AlignedReconstruction
from .generator_step import GeneratorStep, to_device
from .updates import NetworkUpdate


class SynthesisTrainer(GeneratorStep, SupervisedTrainer):
    """Train the cascade to turn an NCCT into the CTA.

    MONAI's network, optimiser, loss function and inferer are really used; its ``amp`` is not, because it knows no bf16
    without a gradient scaler and computes the loss in half precision.

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
            non_blocking=device.type == "cuda",  # from pinned memory
            decollate=False,
        )
        self.logger.addFilter(is_news)
        self.objective = objective
        self.update = update
        self.precision = amp
        # Handlers attach last: they may look at everything that is set here.
        self._register_handlers(train_handlers or [])

    def _iteration(self, engine: Any, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        return self.descend(self.reconstruct(batchdata, self.network, self.inferer))
