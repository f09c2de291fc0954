"""One training step of the cascade against an adversary that is conditional on the NCCT."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from monai.engines import GanTrainer
from monai.inferers import Inferer
from torch import nn

from ..common import keys
from ..common.errors import is_news
from ..losses import AlignedReconstruction
from .adversary import Adversary
from .generator_step import GeneratorStep, to_device
from .updates import NetworkUpdate

PULLS_EVERY = 25  # steps: they cost as many backward passes through D as there are terms


class AdversarialSynthesisTrainer(GeneratorStep, GanTrainer):
    """Train the cascade with D: least squares or hinge, and feature matching; see ``Adversary``.

    MONAI's networks, optimisers, generator loss and inferer are really used; its iteration is not, because it gives
    the generator's loss only the fake, draws latent codes, and leaves D unfrozen in the generator's step.
    ``engine.state.output`` is that of ``SynthesisTrainer``, with D's terms added.

    Args:
        device: the device of the networks.
        max_epochs: epochs in all.
        train_data_loader: batches as ``keys.py`` describes them.
        network: the cascade, from NCCT to ``Stages``.
        objective: the reconstruction loss, with registration if wanted.
        update: the generator's optimiser step.
        adversary: D and what belongs to it.
        inferer: MONAI's way to call the network; default: directly.
        train_handlers: what happens around the iterations.
        amp: mixed precision of the generator: off, bf16 or fp16.
    """

    for_adversary = True

    def __init__(
        self,
        *,
        device: torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        objective: AlignedReconstruction,
        update: NetworkUpdate,
        adversary: Adversary,
        inferer: Inferer | None = None,
        train_handlers: Sequence | None = None,
        amp: str = "off",
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,  # type: ignore[arg-type]
            g_network=network,
            g_optimizer=update.optimizer,
            g_loss_function=objective,
            g_inferer=inferer,
            d_network=adversary.network,
            d_optimizer=adversary.update.optimizer,
            d_loss_function=adversary.loss.discriminator_loss,
            d_train_steps=adversary.steps,
            d_prepare_batch=to_device,
            non_blocking=device.type == "cuda",  # from pinned memory
            decollate=False,
        )
        self.logger.addFilter(is_news)
        self.network = network
        self.objective = objective
        self.update = update
        self.adversary = adversary
        self.precision = amp
        # Handlers attach last: they may look at everything that is set here.
        self._register_handlers(train_handlers or [])

    def _iteration(self, engine: Any, batchdata: Any) -> dict[str, Any]:
        made = self.reconstruct(batchdata, self.g_network, self.g_inferer)
        if self.adversary.has_joined(self.state.epoch):
            assert made.aligned is not None
            made.terms.update(self.adversary.step(made.aligned))
            judged = self.adversary.judge(made.aligned)
            made.terms.update(judged)
            if self.state.iteration % PULLS_EVERY == 1 % PULLS_EVERY:
                made.terms.update(self.adversary.pulls(made.stages.refined, made.terms[keys.LOSS], judged))
            made.terms[keys.LOSS] = self.adversary.added_to(made.terms[keys.LOSS], judged)
        return self.descend(made)
