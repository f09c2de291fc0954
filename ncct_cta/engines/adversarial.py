"""One training step of the cascade against a discriminator that is conditional on the NCCT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines import GanTrainer
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from ..common import keys
from ..common.precision import autocast
from ..losses.adversarial import AdversarialLoss, FeatureMatchingLoss, mean_score
from ..losses.alignment import Aligned, AlignedReconstruction
from ..networks import Judgement, frozen
from .trainer import step_output, to_device
from .updates import NetworkUpdate


class AdversarialSynthesisTrainer(GanTrainer):
    """Train the cascade with D: least squares or hinge, and feature matching (pix2pixHD, Wang et al., CVPR 2018).

    D judges (x, refined) against (x, y); real is the CTA y, never the input. The two never train each other: D's step
    sees a detached synthesis, the generator's step a frozen D (no gradient, eval mode, so no weight, spectral-norm
    vector or buffer of D changes). ``engine.state.output`` is ``SynthesisTrainer``'s, with D's terms beside.

    Args:
        device: where the networks lie.
        max_epochs: epochs in all.
        train_data_loader: batches as ``keys.py`` describes them.
        network: the cascade, from NCCT to ``Stages``.
        objective: the reconstruction loss, with registration if wanted.
        update: the generator's step.
        discriminator: D, from (condition, image) to ``Judgement``.
        discriminator_update: D's step.
        adversarial_loss: what D and the generator pay for D's judgement.
        gan_weight: weight of the generator's adversarial term.
        feat_match_weight: weight of the feature matching.
        discriminator_steps: D's steps a generator step.
        warmup_epochs: epochs of reconstruction alone before D joins.
        inferer: MONAI's way to call the network; default: directly.
        train_handlers: what happens around the iterations.
        amp: mixed precision: off, bf16 or fp16.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        max_epochs: int,
        train_data_loader: DataLoader,
        network: nn.Module,
        objective: AlignedReconstruction,
        update: NetworkUpdate,
        discriminator: nn.Module,
        discriminator_update: NetworkUpdate,
        adversarial_loss: AdversarialLoss,
        gan_weight: float = 1.0,
        feat_match_weight: float = 1.0,
        discriminator_steps: int = 1,
        warmup_epochs: int = 0,
        inferer: Inferer | None = None,
        train_handlers: Sequence | None = None,
        amp: str = "off",
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            g_network=network,
            g_optimizer=update.optimizer,
            g_loss_function=objective,
            g_inferer=inferer,
            d_network=discriminator,
            d_optimizer=discriminator_update.optimizer,
            d_loss_function=adversarial_loss.discriminator_loss,
            d_train_steps=discriminator_steps,
            d_prepare_batch=to_device,
            decollate=False,
        )
        self.network = network
        self.objective = objective
        self.update = update
        self.discriminator_update = discriminator_update
        self.adversarial_loss = adversarial_loss
        self.feature_matching = FeatureMatchingLoss()
        self.gan_weight = gan_weight
        self.feat_match_weight = feat_match_weight
        self.warmup_epochs = warmup_epochs
        self.precision = amp
        self._register_handlers(train_handlers or [])

    def _iteration(self, engine: Any, batchdata: Any) -> dict[str, Any]:
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        self.network.train()
        with autocast(self.state.device, self.precision):
            stages = self.g_inferer(batch[keys.NCCT], self.network)
        terms, aligned = self.objective(batch[keys.NCCT], stages.refined, batch[keys.CTA], batch[keys.LUNG])
        loss = terms[keys.LOSS]
        if self.state.epoch > self.warmup_epochs:
            terms |= self._update_discriminator(aligned)
            judged = self._judge(aligned)
            loss = loss + self.gan_weight * judged[keys.GAN_G] + self.feat_match_weight * judged[keys.FEAT_MATCH]
            terms |= {**judged, keys.LOSS: loss}
        self.state.output = step_output(batch, stages, terms)
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.state.output[keys.TERMS] |= self.update(loss)
        return self.state.output

    def _update_discriminator(self, aligned: Aligned) -> Mapping[str, torch.Tensor]:
        """D's step: no gradient reaches the generator."""
        self.d_network.train()
        condition, fake = aligned.ncct.detach(), aligned.prediction.detach()
        terms: dict[str, torch.Tensor] = {}
        for _ in range(self.d_train_steps):
            with autocast(self.state.device, self.precision):
                # Real and synthetic in one pass: nothing but their content can tell them apart.
                both = self.d_network(torch.cat((condition, condition)), torch.cat((aligned.cta, fake)))
            real_logits, fake_logits = zip(*(scale.chunk(2) for scale in both.logits), strict=True)
            d_loss = self.adversarial_loss.discriminator_loss(real_logits, fake_logits)
            terms = {
                keys.D_LOSS: d_loss.detach(),
                keys.D_REAL: mean_score(real_logits),
                keys.D_FAKE: mean_score(fake_logits),
                **self.discriminator_update(d_loss),
            }
        return terms

    def _judge(self, aligned: Aligned) -> dict[str, torch.Tensor]:
        """What D's judgement costs the generator: D is frozen, so nothing of it changes."""
        # Not through DistributedDataParallel: it would wait for gradients of D, and write D's buffers.
        plain = self.d_network.module if isinstance(self.d_network, DistributedDataParallel) else self.d_network
        with frozen(plain), autocast(self.state.device, self.precision):
            with torch.no_grad():
                real: Judgement = plain(aligned.ncct, aligned.cta)
            fake: Judgement = plain(aligned.ncct, aligned.prediction)
        return {
            keys.GAN_G: self.adversarial_loss.generator_loss(fake.logits),
            keys.FEAT_MATCH: self.feature_matching(real.features, fake.features),
        }
