"""The penalty on a discriminator that is steep where it should be content."""

from __future__ import annotations

import math

import torch

from ..networks import MultiScaleDiscriminator
from .adversarial import total


def r1_penalty(network: MultiScaleDiscriminator, condition: torch.Tensor, cta: torch.Tensor) -> torch.Tensor:
    """``1/2 E ||d/dc sum over scales k and patches p of D_kp(x, c) / sqrt(P_k)||^2`` at real pairs.

    R1 (Mescheder et al., Which Training Methods for GANs do actually Converge?, ICML 2018) for a PatchGAN of P_k
    patches: by the square root the penalty is that of one patch's judgement, whatever the image's size. c is the second
    channel as D sees it, ``gain * (cta - x)``, so that the penalty doesn't depend on the HU window. It is computed in
    float32: squares of gradients underflow in half precision.

    Args:
        network: D, itself rather than what synchronises it.
        condition: the NCCT x, (B, 1, *spatial) in [-1, 1].
        cta: the real CTA, same shape and range.

    Returns:
        a scalar with a gradient to D's weights, and to nothing else.
    """
    with torch.autocast(condition.device.type, enabled=False):
        seen = network.pair(condition.detach().float(), cta.detach().float())
        contrast = seen[:, 1:].requires_grad_()
        logits = network.judge(torch.cat((seen[:, :1], contrast), dim=1)).logits
        score = total([scale.sum() / math.sqrt(scale[0].numel()) for scale in logits])
        (gradient,) = torch.autograd.grad(score, contrast, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1).mean() / 2
