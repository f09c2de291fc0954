"""The generator G: a network that predicts the CTA, or the change from the NCCT to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .architectures import ARCHITECTURES, is_own_class, own_class


def middle_slice(ncct: torch.Tensor) -> torch.Tensor:
    """Of a slice and its neighbours (B, in_slices, X, Y) the slice, (B, 1, X, Y); one slice or volume as it is."""
    middle = ncct.shape[1] // 2
    return ncct[:, middle : middle + 1]


class GatedHead(nn.Module):
    """``change = sigmoid(gate) * amount``: where a vessel is, and how much contrast it takes up.

    A network that has to say both by one number hedges: where a vessel is as likely as not, an L1 is least at none.
    Attention's soft gates (Schlemper et al., Medical Image Analysis 2019) learn from the image's loss alone; this has
    a loss of its own (``losses.gate``) on the logits, its input (``watched_gates``).
    """

    def forward(self, gate: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
        """The change, from the gate's logits and the amount, both (B, 1, *spatial)."""
        return gate.sigmoid() * amount


class Generator(nn.Module):
    """From NCCT to coarse CTA, by a network of ``architectures.py`` or one of the user's own.

    Args:
        spatial_dims: 2 or 3.
        channels: features per level; each level halves the grid, so sizes must be divisible by ``multiple``.
        num_res_units: residual units per level.
        norm: MONAI's name of the normalisation layer: ``instance`` or ``batch``.
        residual_output: if true ``coarse = clamp(x + net(x), -1, 1)``, else ``clamp(net(x), -1, 1)``.
        architecture: the network: a name in ``ARCHITECTURES``, or ``package.module.Class`` of the user's own: called
            with ``arguments`` alone, from (B, in_slices, *spatial) to (B, 1, *spatial). Its attribute ``multiple`` says
            what the sides of its input must divide by (default 1); its method ``zero_top()``, if it has one, makes it
            return zeros.
        arguments: keyword arguments of a class of the user's own.
        in_slices: axial slices that it sees, in 2-D; it predicts the middle one.
        head: ``residual``: what the network returns is the change. ``gated``: it returns a gate's logits and an amount,
            of which ``GatedHead`` makes the change; not with a class of the user's own.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        channels: Sequence[int] = (64, 128, 256, 512, 1024, 1024),
        num_res_units: int = 2,
        norm: str = "instance",
        residual_output: bool = True,
        architecture: str = "unet",
        arguments: Mapping[str, Any] | None = None,
        in_slices: int = 1,
        head: str = "residual",
    ) -> None:
        super().__init__()
        self.in_slices = in_slices
        self.spatial_dims = spatial_dims
        self.residual_output = residual_output
        self.gate = GatedHead() if head == "gated" else None
        if is_own_class(architecture):
            self.net = own_class(architecture)(**(arguments or {}))
            self.multiple = int(getattr(self.net, "multiple", 1))
            zero_top = getattr(self.net, "zero_top", None)
        else:
            entry = ARCHITECTURES[architecture]
            self.net = entry.build(
                spatial_dims, channels, num_res_units, norm, in_slices, 1 if self.gate is None else 2
            )
            self.multiple = entry.multiple(channels)
            zero_top = lambda: entry.zero_top(self.net)  # noqa: E731
        if residual_output and zero_top is not None:
            # Training starts from "no change" rather than from noise.
            zero_top()

    def forward(self, ncct: torch.Tensor) -> torch.Tensor:
        """Predict the coarse CTA.

        Args:
            ncct: (B, in_slices, *spatial), HU window scaled to [-1, 1].

        Returns:
            (B, 1, *spatial) in [-1, 1].
        """
        prediction = self.net(ncct)
        if self.gate is not None:
            prediction = self.gate(prediction[:, :1], prediction[:, 1:])
        if self.residual_output:
            prediction = middle_slice(ncct) + prediction
        return prediction.clamp(-1.0, 1.0)


@contextmanager
def watched_gates(network: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collect the logits of the gates in ``network`` that it computes meanwhile, (B, 1, *spatial) each.

    Those of a frozen G are left out: nothing could be learned from a loss on them. The loss alone wants them, so they
    aren't among the ``Stages``, which inference and export know too.
    """
    seen: list[torch.Tensor] = []

    def keep(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].requires_grad:
            seen.append(inputs[0])

    hooks = [module.register_forward_pre_hook(keep) for module in network.modules() if isinstance(module, GatedHead)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
