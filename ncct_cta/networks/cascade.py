"""The cascade: the one module from NCCT to synthetic CTA that training, validation, inference and export call."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn


class Stages(NamedTuple):
    """What the cascade computes, each (B, 1, *spatial) in [-1, 1]; ``refined`` is the synthetic CTA."""

    coarse: torch.Tensor
    intermediate: torch.Tensor
    refined: torch.Tensor


def intermediate_image(ncct: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """``x * |coarse|``: vessels (|coarse| near 1) keep x, the rest is darkened towards ``x * |x|``.

    Args:
        ncct: (B, 1, *spatial), HU window scaled to [-1, 1].
        coarse: G's prediction, same shape and range.
    """
    return ncct * coarse.abs()


class SynthesisCascade(nn.Module):
    """G alone, or G and a refinement net G2 that is fed with ``x * |G(x)|``.

    Args:
        generator: G, from (B, 1, *spatial) in [-1, 1] to the same.
        refine_net: G2, from the intermediate image to the refined CTA; without it ``refined`` is ``coarse``.
    """

    def __init__(self, generator: nn.Module, refine_net: nn.Module | None = None) -> None:
        super().__init__()
        self.generator = generator
        self.refine_net = refine_net

    def stages(self, ncct: torch.Tensor) -> Stages:
        """All stages for ``ncct`` (B, 1, *spatial), HU window scaled to [-1, 1]."""
        coarse = self.generator(ncct)
        intermediate = intermediate_image(ncct, coarse)
        refined = coarse
        if self.refine_net is not None:
            refined = self.refine_net(intermediate)
        return Stages(coarse, intermediate, refined)

    def forward(self, ncct: torch.Tensor) -> Stages:
        """The same as ``stages``."""
        return self.stages(ncct)


class Synthesizer(SynthesisCascade):
    """The same cascade with one output, the synthetic CTA: what MONAI's export and verification tools call."""

    def forward(self, ncct: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """The synthetic CTA (B, 1, *spatial) in [-1, 1]."""
        return self.stages(ncct).refined
