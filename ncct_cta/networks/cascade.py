"""The cascade: the one module from NCCT to synthetic CTA that training, validation, inference and export call."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from .generator import middle_slice

# The inputs that G2 can see, and their number of channels.
FUSION_CHANNELS = {"product": 1, "concat": 3}
# The images that G2 can add its change to; auto: the product where G2 sees it alone, else coarse.
BASES = ("auto", "product", "coarse", "root")


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


def root_image(ncct: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
    """``2 * sqrt(u * v) - 1`` with ``u = (x + 1) / 2`` and ``v = (coarse + 1) / 2``: the geometric mean in [0, 1].

    A product of x and coarse like ``intermediate_image``, but without its losses: it is x where coarse is x, it rises
    with coarse wherever x isn't air, and no sign is folded.

    Args:
        ncct: (B, 1, *spatial), HU window scaled to [-1, 1].
        coarse: G's prediction, same shape and range.
    """
    product = (ncct + 1) * (coarse + 1) / 4
    # At 0 the root's slope is infinite: less than 1e-8, which is 0.2 HU of a window of 1600, counts as 1e-8. A literal,
    # because TorchScript knows no constants of a module.
    return 2 * product.clamp_min(1e-8).sqrt() - 1


class SynthesisCascade(nn.Module):
    """G alone, or G and a refinement net G2 whose input is based on ``x * |G(x)|``.

    Args:
        generator: G, from (B, in_slices, *spatial) in [-1, 1] to (B, 1, *spatial).
        refine_net: G2, called as ``refine_net(features, base)``: features have ``FUSION_CHANNELS[fusion]`` channels,
            base is the image it refines. Without it ``refined`` is ``coarse``.
        fusion: ``product``: G2 sees the intermediate image. ``concat``: G2 sees (intermediate, x, coarse); where x is
            near 0 the product has lost G's information, the other two channels haven't.
        base: what G2 refines: ``product``: the intermediate image; ``coarse``: G's prediction, which an untrained G2
            gives back; ``root``: ``root_image``; ``auto``: product with the fusion ``product``, coarse with ``concat``.
        freeze_generator: with a refine_net, keep G in eval mode (also after ``.train()``), without gradient and
            unchanged. Without a refine_net it has no effect: G is what is trained then.

    Raises:
        ValueError: if ``fusion`` is not one of ``FUSION_CHANNELS``, or ``base`` not one of ``BASES``.
    """

    def __init__(
        self,
        generator: nn.Module,
        refine_net: nn.Module | None = None,
        fusion: str = "product",
        freeze_generator: bool = True,
        base: str = "auto",
    ) -> None:
        super().__init__()
        if fusion not in FUSION_CHANNELS:
            raise ValueError(f"fusion is {fusion!r}, expected one of {', '.join(map(repr, FUSION_CHANNELS))}")
        if base not in BASES:
            raise ValueError(f"base is {base!r}, expected one of {', '.join(map(repr, BASES))}")
        self.generator = generator
        self.refine_net = refine_net
        self.fusion = fusion
        self.base = base if base != "auto" else "product" if fusion == "product" else "coarse"
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
        """Return all stages for ``ncct`` (B, in_slices, *spatial), HU window scaled to [-1, 1].

        G alone sees the slices around; ``x`` in all formulas is the middle one.
        """
        coarse = self._coarse(ncct)
        ncct = middle_slice(ncct)
        intermediate = intermediate_image(ncct, coarse)
        refined = coarse
        if self.refine_net is not None:
            features = intermediate
            if self.fusion == "concat":
                features = torch.cat((intermediate, ncct, coarse), dim=1)
            base = coarse
            if self.base == "product":
                base = intermediate
            elif self.base == "root":
                base = root_image(ncct, coarse)
            refined = self.refine_net(features, base)
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
