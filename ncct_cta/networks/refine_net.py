"""The refinement net G2: small residual corrections at full resolution."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from torch import nn


class ResBlock(nn.Module):
    """``h + conv(act(conv(h)))``: EDSR's residual block (Lim et al., CVPRW 2017), without normalisation.

    Args:
        spatial_dims: 2 or 3.
        channels: features in and out.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        # No normalisation: dividing by a patch's own mean and spread would throw the absolute HU away, and make a
        # voxel's value depend on what else is in the patch (training) or the slice (inference).
        # Leaky, because features of dark tissue are negative and a plain ReLU would give them no gradient.
        self.body = nn.Sequential(
            conv(channels, channels, kernel_size=3, padding=1),
            nn.LeakyReLU(0.2),
            conv(channels, channels, kernel_size=3, padding=1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, channels, *spatial) to the same shape."""
        return features + self.body(features)


class RefineNet(nn.Module):
    """``refined = clamp(base + conv_out(ResBlocks(conv_in(features))), -1, 1)``.

    ``conv_out`` starts at zero, so an untrained G2 is the identity on ``base`` and training starts from G's quality.
    With 64 features and 6 blocks it has 444 k parameters in 2-D, 1.33 M in 3-D.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of ``features`` (``cascade.FUSION_CHANNELS``).
        hidden_dim: features of every block.
        num_blocks: number of ResBlocks; each extends the receptive field by 2 voxels to each side.
    """

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, hidden_dim: int = 64, num_blocks: int = 6) -> None:
        super().__init__()
        conv = Conv[Conv.CONV, spatial_dims]
        self.conv_in = conv(in_channels, hidden_dim, kernel_size=3, padding=1)
        self.blocks = nn.Sequential(*(ResBlock(spatial_dims, hidden_dim) for _ in range(num_blocks)))
        self.conv_out = conv(hidden_dim, 1, kernel_size=3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, features: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """Refine ``base``.

        Args:
            features: (B, in_channels, *spatial) in [-1, 1], what G2 sees.
            base: (B, 1, *spatial) in [-1, 1], the image to which the residual is added.

        Returns:
            (B, 1, *spatial) in [-1, 1].
        """
        residual = self.conv_out(self.blocks(self.conv_in(features)))
        return (base + residual).clamp(-1.0, 1.0)
