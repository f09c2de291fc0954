"""Adversarial losses: what D minimises, and the generator's adversarial terms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

MODES = ("least_squares", "hinge")


class AdversarialLoss:
    """The loss of D and the adversarial term of the generator, summed over D's scales.

    With r and f for the logits of a scale on real and synthetic images, and E for the mean over batch and patches:

    - ``least_squares`` (Mao et al., ICCV 2017): D: ``1/2 E[(r - 1)^2] + 1/2 E[f^2]``; generator: ``E[(f - 1)^2]``
    - ``hinge`` (Lim & Ye, arXiv:1705.02894): D: ``E[max(0, 1 - r)] + E[max(0, 1 + f)]``; generator: ``-E[f]``

    Reference values for least squares and three scales: a D that can't tell real from synthetic answers r = f = 1/2,
    which is a D loss of 0.75. A D into which the generator's gradient leaks settles at r = f = 3/4, a D loss of 0.9375
    and a generator term of 0.1875.

    MONAI's PatchAdversarialLoss averages over scales, applies an activation to the logits and uses another hinge form
    for the generator; hence this implementation.

    Args:
        mode: ``least_squares`` or ``hinge``.

    Raises:
        ValueError: if ``mode`` is neither.
    """

    def __init__(self, mode: str = "least_squares") -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(map(repr, MODES))}")
        self.mode = mode

    def discriminator_loss(
        self, real_logits: Sequence[torch.Tensor], fake_logits: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """What D minimises.

        Args:
            real_logits: D's logits for the real CTA, one tensor (B, 1, *patches) per scale.
            fake_logits: D's logits for the synthetic CTA, which must be detached from the generator.
        """
        pairs = zip(as_float(real_logits), as_float(fake_logits), strict=True)
        if self.mode == "hinge":
            return total([F.relu(1 - real).mean() + F.relu(1 + fake).mean() for real, fake in pairs])
        return total([((real - 1).square().mean() + fake.square().mean()) / 2 for real, fake in pairs])

    def generator_loss(self, fake_logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """What the generator minimises: ``fake_logits`` as in ``discriminator_loss``, with D frozen."""
        if self.mode == "hinge":
            return total([-fake.mean() for fake in as_float(fake_logits)])
        return total([(fake - 1).square().mean() for fake in as_float(fake_logits)])


class FeatureMatchingLoss(nn.Module):
    """``sum over scales k and layers i of E|D_k^i(x, y) - D_k^i(x, refined)|`` (pix2pixHD, Wang et al., CVPR 2018).

    E is the mean over a layer's elements, so wide layers don't outweigh narrow ones.
    """

    def forward(
        self, real_features: Sequence[Sequence[torch.Tensor]], fake_features: Sequence[Sequence[torch.Tensor]]
    ) -> torch.Tensor:
        """Compare D's features (``Judgement.features``: per scale, one tensor per layer).

        Args:
            real_features: for the real CTA; taken as constants, whether or not they carry a gradient.
            fake_features: for the synthetic CTA, with the gradient to the generator.
        """
        differences = []
        for real_scale, fake_scale in zip(real_features, fake_features, strict=True):
            for real, fake in zip(as_float(real_scale), as_float(fake_scale), strict=True):
                # The real features are the target; a gradient through them would train D to see no difference.
                differences.append(F.l1_loss(fake, real.detach()))
        return total(differences)


def mean_score(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return D_real or D_fake as logged: the mean logit, averaged over scales; a scalar without gradient."""
    return torch.stack([scale.detach().mean() for scale in as_float(logits)]).mean()


def as_float(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Half precision has too few digits for means over many patches."""
    return [tensor.float() for tensor in tensors]


def total(terms: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum of scalars as one tensor."""
    return torch.stack(list(terms)).sum()
