"""The generator G: MONAI's UNet that predicts the CTA, or the change towards it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.nets import UNet
from torch import nn


class Generator(nn.Module):
    """UNet (Ronneberger et al., MICCAI 2015; residual units: Kerfoot et al., STACOM 2018) from NCCT to coarse CTA.

    Args:
        spatial_dims: 2 or 3.
        channels: features per level; each level halves the grid, so sizes must divide by ``multiple``.
        num_res_units: residual units per level.
        norm: MONAI's name of the normalisation layer: ``instance`` or ``batch``.
        residual_output: if true ``coarse = clamp(x + net(x), -1, 1)``, else ``clamp(net(x), -1, 1)``.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        channels: Sequence[int] = (64, 128, 256, 512, 1024, 1024),
        num_res_units: int = 2,
        norm: str = "instance",
        residual_output: bool = True,
    ) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.multiple = 2 ** (len(channels) - 1)
        self.residual_output = residual_output
        self.net = UNet(
            spatial_dims=spatial_dims,
            in_channels=1,
            out_channels=1,
            channels=list(channels),
            strides=[2] * (len(channels) - 1),
            num_res_units=num_res_units,
            norm=norm,
        )
        if num_res_units > 0:
            # MONAI normalises the one-channel output of the top up-convolution: with instance norm every slice's
            # change would be forced to one mean and spread, with vessels in it or without.
            self._top[0].adn.N = nn.Identity()
        if residual_output:
            self._start_as_identity()

    def _start_as_identity(self) -> None:
        """Zero what the top level adds up, so that training starts from "no change" rather than from noise."""
        for layer in self._top.modules():
            if isinstance(layer, nn.modules.conv._ConvNd):
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
                if layer.transposed:
                    nn.init.zeros_(layer.weight)

    @property
    def _top(self) -> Any:
        """The level that works at full resolution on the way up."""
        return self.net.model[2]  # type: ignore[index]

    def forward(self, ncct: torch.Tensor) -> torch.Tensor:
        """Predict the coarse CTA.

        Args:
            ncct: (B, 1, *spatial), HU window scaled to [-1, 1].

        Returns:
            (B, 1, *spatial) in [-1, 1].
        """
        prediction = self.net(ncct)
        if self.residual_output:
            prediction = ncct + prediction
        return prediction.clamp(-1.0, 1.0)
