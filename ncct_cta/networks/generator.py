"""The generator G: a network that predicts the CTA, or the change from the NCCT to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .architectures import ARCHITECTURES, is_own_class, own_class


def middle_slice(ncct: torch.Tensor) -> torch.Tensor:
    """Of a slice and its neighbours (B, in_slices, X, Y) the slice, (B, 1, X, Y); one slice or volume as it is."""
    middle = ncct.shape[1] // 2
    return ncct[:, middle : middle + 1]


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
    ) -> None:
        super().__init__()
        self.in_slices = in_slices
        self.spatial_dims = spatial_dims
        self.residual_output = residual_output
        if is_own_class(architecture):
            self.net = own_class(architecture)(**(arguments or {}))
            self.multiple = int(getattr(self.net, "multiple", 1))
            zero_top = getattr(self.net, "zero_top", None)
        else:
            entry = ARCHITECTURES[architecture]
            self.net = entry.build(spatial_dims, channels, num_res_units, norm, in_slices)
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
        if self.residual_output:
            prediction = middle_slice(ncct) + prediction
        return prediction.clamp(-1.0, 1.0)
