"""The registration net R: compensates for misalignment between NCCT and CTA in training; inference doesn't use it.

The prediction lies on the NCCT's grid, the CTA was taken in another breath. R warps the prediction onto the CTA before
the reconstruction loss (RegGAN: Kong et al., NeurIPS 2021), so that the loss sees contrast rather than motion.
"""

from __future__ import annotations

import functools

import torch
from monai.losses import BendingEnergyLoss, DiffusionLoss
from monai.networks.blocks import Warp
from monai.networks.nets import VoxelMorphUNet
from torch import nn
from torch.nn import functional as F

# Features of the UNet's (down, up) pairs, finest first; each pair halves the grid.
UNET_CHANNELS = (16, 16, 16, 16, 32, 32, 32, 32)
FULL_SIZE_CHANNELS = (16, 16)
# Where the UNet's coarsest features come from.
BOTTOM = "net.0.1.submodule.1.submodule.1.submodule.1.submodule.0.1"
ATTENTION_GROUPS = 8  # of features, normalised together before they are compared
PENALTIES = {"diffusion": DiffusionLoss, "bending": BendingEnergyLoss}


class RegistrationNet(nn.Module):
    """VoxelMorph's UNet (Balakrishnan et al., IEEE TMI 2019) from (prediction, CTA) to a displacement field.

    ``displacement = max_displacement * tanh(net(prediction, cta) / max_displacement)``, in voxels. The last layer
    starts at zero, so an untrained R moves nothing. 68 k parameters in 2-D, 203 k in 3-D.

    The displacement is bounded because R minimises the same loss as G: an unbounded field could fetch a similar grey
    value from anywhere and so hide G's mistakes. Well below the bound the tanh is close to the identity.

    Args:
        spatial_dims: 2 (in-plane displacement) or 3.
        max_displacement: bound of every component, in voxels of the training grid.
        attention: let the features of the coarsest grid see each other wherever they lie (self-attention: Vaswani et
            al., NeurIPS 2017, as SAGAN uses it: Zhang et al., ICML 2019), so that a shift of the whole chest can be
            told from a change in one place. What it adds starts at zero: R then is the R without it.

    Raises:
        ValueError: if ``max_displacement`` is not positive.
    """

    def __init__(self, spatial_dims: int = 2, max_displacement: float = 10.0, attention: bool = False) -> None:
        super().__init__()
        if not max_displacement > 0:
            raise ValueError(f"max_displacement is {max_displacement}, expected a positive number of voxels")
        self.max_displacement = max_displacement
        self.multiple = 2 ** (len(UNET_CHANNELS) // 2)
        self.net = VoxelMorphUNet(
            spatial_dims=spatial_dims,
            in_channels=2,
            unet_out_channels=UNET_CHANNELS[0],
            channels=UNET_CHANNELS,
            final_conv_channels=FULL_SIZE_CHANNELS,
        )
        last_conv = self.net.get_submodule("net.1.final_conv_out.conv")
        for parameter in last_conv.parameters():
            nn.init.zeros_(parameter)
        if attention:
            bottom = self.net.get_submodule(BOTTOM)
            self.net.set_submodule(BOTTOM, nn.Sequential(bottom, AttentionBlock(UNET_CHANNELS[-1])))

    def forward(self, prediction: torch.Tensor, cta: torch.Tensor) -> torch.Tensor:
        """Find the displacement that warps ``prediction`` onto ``cta``.

        Args:
            prediction: (B, 1, *spatial) in [-1, 1], the image to warp, of any size (padded internally).
            cta: the real CTA, same shape and range.

        Returns:
            (B, spatial_dims, *spatial), float32, in voxels; component k points along spatial axis k. Pass it to
            ``warp``.
        """
        inside = (..., *(slice(length) for length in prediction.shape[2:]))
        pair = pad_to_multiple(torch.cat((prediction, cta), dim=1), self.multiple)
        # Under autocast the network returns half precision, which is too coarse for positions.
        raw = self.net(pair)[inside].float()
        return self.max_displacement * torch.tanh(raw / self.max_displacement)


class AttentionBlock(nn.Module):
    """``h + attention(norm(h))`` over all voxels, with one head and group norm; it starts as h.

    PyTorch's attention: MONAI's ``SpatialAttentionBlock`` needs a further package.

    Args:
        channels: features of h.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(ATTENTION_GROUPS, channels)
        self.attention = nn.MultiheadAttention(channels, num_heads=1, batch_first=True)
        nn.init.zeros_(self.attention.out_proj.weight)  # its bias starts at zero anyway

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, channels, *spatial) to the same shape."""
        voxels = self.norm(features).flatten(2).transpose(1, 2)
        seen, _ = self.attention(voxels, voxels, voxels, need_weights=False)
        return features + seen.transpose(1, 2).reshape(features.shape)


def pad_to_multiple(image: torch.Tensor, multiple: int) -> torch.Tensor:
    """Repeat the last voxels of each axis until its length is divisible by ``multiple``.

    Args:
        image: (B, C, *spatial).
        multiple: number by which every length must be divisible.
    """
    missing = [-length % multiple for length in image.shape[2:]]
    if not any(missing):
        return image
    # F.pad wants (before, after) from the last axis to the first.
    padding = [amount for after in reversed(missing) for amount in (0, after)]
    return F.pad(image, padding, mode="replicate")


def warp(image: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """``warped(p) = image(p + displacement(p))``, linear interpolation; values beyond the border repeat the edge.

    A field of zeros returns the image bit for bit, so that an untrained R doesn't blur.

    Args:
        image: (B, C, *spatial).
        displacement: (B, spatial_dims, *spatial) in voxels, as returned by ``RegistrationNet``.

    Returns:
        the same shape and type as ``image``; gradients flow to both arguments.
    """
    # MONAI scales positions to [-1, 1] and back. In float32 that misses voxel centres and changes values by up to 1e-5
    # of the grey range.
    warped: torch.Tensor = _warper(displacement.shape, displacement.device)(image.double(), displacement.double())
    return warped.to(image.dtype)


@functools.lru_cache(maxsize=2)
def _warper(shape: torch.Size, device: torch.device) -> Warp:
    """MONAI's Warp for fields of one shape on one device: it keeps its grid, which is made on the CPU and copied."""
    return Warp(mode="bilinear", padding_mode="border")


class SmoothnessLoss(nn.Module):
    """The penalty on a rough displacement field: MONAI's, averaged over voxels and components, in voxels.

    Args:
        penalty: ``diffusion``: squared first derivatives (VoxelMorph; shifts cost nothing). ``bending``: squared second
            derivatives (Rueckert et al., IEEE TMI 1999; shifts, rotations and scalings cost nothing).

    Raises:
        ValueError: if ``penalty`` is neither.
    """

    def __init__(self, penalty: str = "diffusion") -> None:
        super().__init__()
        if penalty not in PENALTIES:
            raise ValueError(f"penalty is {penalty!r}, expected one of {', '.join(map(repr, PENALTIES))}")
        self.penalty = PENALTIES[penalty]()

    def forward(self, displacement: torch.Tensor) -> torch.Tensor:
        """The penalty (scalar) of ``displacement`` (B, spatial_dims, *spatial), at least 3 voxels per side."""
        penalty: torch.Tensor = self.penalty(displacement.float())
        return penalty
