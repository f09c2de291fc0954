"""The adversary: D, its loss, its step, and what its verdict costs the generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..common import keys
from ..common.precision import autocast
from ..losses import Aligned
from ..losses.adversarial import AdversarialLoss, FeatureMatchingLoss, mean_score
from ..losses.gradient_penalty import r1_penalty
from ..networks import Judgement, frozen
from .updates import NetworkUpdate


class Adversary:
    """D judges (x, refined) against (x, y), and learns to; real is the CTA y, never the input.

    D and the generator never train each other: ``step`` sees a detached synthesis, ``judge`` a frozen D (no gradient,
    eval mode, so no weight, spectral-norm vector or buffer of D changes).

    Args:
        network: D, from (condition, image) to ``Judgement``.
        update: D's optimiser step.
        loss: the losses of D and of the generator on D's logits.
        gan_weight: weight of the generator's adversarial term.
        feat_match_weight: weight of the feature matching (pix2pixHD, Wang et al., CVPR 2018).
        steps: D's steps per generator step.
        warmup_epochs: epochs of reconstruction only before D joins.
        amp: mixed precision: off, bf16 or fp16.
        r1_weight: weight of ``r1_penalty`` in what D minimises; 0: it isn't computed.
        r1_every: D's steps from one penalty to the next, which then weighs as much more (StyleGAN2's lazy
            regularisation: Karras et al., CVPR 2020).
    """

    def __init__(
        self,
        network: nn.Module,
        update: NetworkUpdate,
        loss: AdversarialLoss,
        *,
        gan_weight: float = 1.0,
        feat_match_weight: float = 1.0,
        steps: int = 1,
        warmup_epochs: int = 0,
        amp: str = "off",
        r1_weight: float = 0.0,
        r1_every: int = 1,
    ) -> None:
        self.network = network
        self.update = update
        self.loss = loss
        self.feature_matching = FeatureMatchingLoss()
        self.gan_weight = gan_weight
        self.feat_match_weight = feat_match_weight
        self.steps = steps
        self.warmup_epochs = warmup_epochs
        self.amp = amp
        self.r1_weight = r1_weight
        self.r1_every = r1_every

    def has_joined(self, epoch: int) -> bool:
        """Say whether D takes part in ``epoch``, counted from 1."""
        return epoch > self.warmup_epochs

    def step(self, aligned: Aligned) -> Mapping[str, torch.Tensor]:
        """D's steps on one batch: no gradient reaches the generator.

        Returns:
            scalars of the last step: ``d_loss``, ``D_real``, ``D_fake``, ``gnorm_D``; and where it was due ``r1``, the
            unweighted penalty, which ``d_loss`` leaves out.
        """
        self.network.train()
        condition, fake = aligned.ncct.detach(), aligned.prediction.detach()
        terms: dict[str, torch.Tensor] = {}
        for _ in range(self.steps):
            with autocast(condition.device, self.amp):
                # Real and synthetic in one pass: nothing but their content can tell them apart.
                both = self.network(torch.cat((condition, condition)), torch.cat((aligned.cta, fake)))
            real_logits, fake_logits = zip(*(scale.chunk(2) for scale in both.logits), strict=True)
            d_loss = self.loss.discriminator_loss(real_logits, fake_logits)
            steepness = self._r1(condition, aligned.cta)
            minimised = d_loss
            for penalty in steepness.values():
                minimised = minimised + self.r1_weight * self.r1_every * penalty
            terms |= {
                keys.D_LOSS: d_loss.detach(),
                keys.D_REAL: mean_score(real_logits),
                keys.D_FAKE: mean_score(fake_logits),
                **{name: value.detach() for name, value in steepness.items()},
                **self.update(minimised),
            }
        return terms

    def _r1(self, condition: torch.Tensor, cta: torch.Tensor) -> dict[str, torch.Tensor]:
        """The penalty, at the steps where it is due."""
        # The schedule counts D's steps, in a resumed run too.
        if self.r1_weight == 0 or self.update.lr_scheduler.last_epoch % self.r1_every:
            return {}
        return {keys.R1: r1_penalty(self._plain, condition, cta)}

    @property
    def _plain(self) -> Any:
        """D itself: what synchronises several processes waits for D's gradients and writes D's buffers."""
        return self.network.module if isinstance(self.network, DistributedDataParallel) else self.network

    def judge(self, aligned: Aligned) -> dict[str, torch.Tensor]:
        """Return the generator's adversarial and feature-matching terms; D is frozen, so nothing in it changes.

        Returns:
            scalars with a gradient: ``gan_g`` and ``feat_match``, both unweighted.
        """
        plain = self._plain
        with frozen(plain), autocast(aligned.ncct.device, self.amp):
            with torch.no_grad():
                real: Judgement = plain(aligned.ncct, aligned.cta)
            fake: Judgement = plain(aligned.ncct, aligned.prediction)
        return {
            keys.GAN_G: self.loss.generator_loss(fake.logits),
            keys.FEAT_MATCH: self.feature_matching(real.features, fake.features),
        }

    def pulls(
        self, synthesis: torch.Tensor, loss: torch.Tensor, judged: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """``sum_i ||d(weight * term) / d synthesis_i||`` over samples i of each term of the generator's loss.

        A term is a mean over the batch, so this is the mean sample's pull, in however many processes.

        Beside each other they say which term the generator follows, which the terms' values don't (GradNorm: Chen et
        al., ICML 2018, balances them by it; here they are only shown).

        Args:
            synthesis: the generator's output, (B, 1, *spatial), that the terms were computed from.
            loss: the reconstruction loss.
            judged: what ``judge`` returned.
        """
        terms = {
            keys.PULL_RECONSTRUCTION: loss,
            keys.PULL_GAN_G: self.gan_weight * judged[keys.GAN_G],
            keys.PULL_FEAT_MATCH: self.feat_match_weight * judged[keys.FEAT_MATCH],
        }
        return {
            name: torch.autograd.grad(term, synthesis, retain_graph=True)[0].float().flatten(1).norm(dim=1).sum()
            for name, term in terms.items()
        }

    def added_to(self, loss: torch.Tensor, judged: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """``loss + gan_weight * gan_g + feat_match_weight * feat_match``: what the generator minimises."""
        return loss + self.gan_weight * judged[keys.GAN_G] + self.feat_match_weight * judged[keys.FEAT_MATCH]
