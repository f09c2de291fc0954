"""The cascade: the one module from NCCT to synthetic CTA that training, validation, inference and export call."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

# The inputs that G2 can see, and their number of channels.
FUSION_CHANNELS = {"product": 1, "concat": 3}


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
    """G alone, or G and a refinement net G2 whose input is based on ``x * |G(x)|``.

    Args:
        generator: G, from (B, 1, *spatial) in [-1, 1] to the same.
        refine_net: G2, called as ``refine_net(features, base)``: features have ``FUSION_CHANNELS[fusion]`` channels,
            base is the image it refines. Without it ``refined`` is ``coarse``.
        fusion: ``product``: G2 sees and refines the intermediate image. ``concat``: G2 sees (intermediate, x, coarse)
            and refines coarse; where x is near 0 the product has lost G's information, the other two channels haven't.
        freeze_generator: with a refine_net, keep G in eval mode (also after ``.train()``), without gradient and
            unchanged. Without a refine_net it has no effect: G is what is trained then.

    Raises:
        ValueError: if ``fusion`` is not one of ``FUSION_CHANNELS``.
    """

    def __init__(
        self,
        generator: nn.Module,
        refine_net: nn.Module | None = None,
        fusion: str = "product",
        freeze_generator: bool = True,
    ) -> None:
        super().__init__()
        if fusion not in FUSION_CHANNELS:
            raise ValueError(f"fusion is {fusion!r}, expected one of {', '.join(map(repr, FUSION_CHANNELS))}")
        self.generator = generator
        self.refine_net = refine_net
        self.fusion = fusion
        self.generator_frozen = freeze_generator and refine_net is not None
        if self.generator_frozen:
            self.generator.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> SynthesisCascade:
        """Set training or evaluation mode; a frozen G stays in evaluation mode (batch statistics, dropout)."""
        super().train(mode)
        if self.generator_frozen:
            self.generator.eval()
        return self

    def stages(self, ncct: torch.Tensor) -> Stages:
        """Return all stages for ``ncct`` (B, 1, *spatial), HU window scaled to [-1, 1]."""
        coarse = self._coarse(ncct)
        intermediate = intermediate_image(ncct, coarse)
        refined = coarse
        if self.refine_net is not None:
            if self.fusion == "concat":
                refined = self.refine_net(torch.cat((intermediate, ncct, coarse), dim=1), coarse)
            else:
                refined = self.refine_net(intermediate, intermediate)
        return Stages(coarse, intermediate, refined)

    def _coarse(self, ncct: torch.Tensor) -> torch.Tensor:
        if self.generator_frozen:
            with torch.no_grad():
                return self.generator(ncct)
        return self.generator(ncct)

    def forward(self, ncct: torch.Tensor) -> Stages:
        """Same as ``stages``."""
        return self.stages(ncct)


class Synthesizer(SynthesisCascade):
    """The same cascade with a single output, the synthetic CTA, as MONAI's export and verification tools expect."""

    def forward(self, ncct: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """The synthetic CTA (B, 1, *spatial) in [-1, 1]."""
        return self.stages(ncct).refined
