"""The discriminator D: tells (NCCT, real CTA) from (NCCT, synthetic CTA) at several scales."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ..settings.combinations import DISCRIMINATOR_KERNEL as KERNEL_SIZE
from ..settings.combinations import smallest_side

MAX_WIDENING = 8  # the widest layer has this many times the features of the first one


class Judgement(NamedTuple):
    """What D says about a batch, finest scale first.

    ``logits``: per scale (B, 1, *patches), unbounded; least squares wants 1 for real and 0 for synthetic.
    ``features``: per scale the outputs of every layer before the logits, for feature matching.
    """

    logits: list[torch.Tensor]
    features: list[list[torch.Tensor]]


class PatchDiscriminator(nn.Module):
    """One scale: a PatchGAN (Isola et al., CVPR 2017) with spectral norm (Miyato et al., ICLR 2018) on every conv.

    No batch norm: its statistics would reveal which batch D is shown, and mix real with synthetic images.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the condition and the image together.
        hidden_dim: features of the first layer; each layer doubles them, up to 8-fold.
        num_layers: number of layers that halve the grid; one more layer and the logits keep it.
        normed: with spectral norm.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, hidden_dim: int, num_layers: int, normed: bool = True
    ) -> None:
        super().__init__()
        norm = spectral_norm if normed else nn.Identity()
        conv = Conv[Conv.CONV, spatial_dims]
        self.layers = nn.ModuleList()
        channels = in_channels
        for index in range(num_layers + 1):
            stride = 2 if index < num_layers else 1
            width = hidden_dim * min(2**index, MAX_WIDENING)
            # Half a kernel of padding: n becomes n // 2 + 1 or n + 1, which is never 0.
            layer = conv(channels, width, kernel_size=KERNEL_SIZE, stride=stride, padding=KERNEL_SIZE // 2)
            self.layers.append(nn.Sequential(norm(layer), nn.LeakyReLU(0.2)))
            channels = width
        self.to_logits = norm(conv(channels, 1, kernel_size=KERNEL_SIZE, padding=KERNEL_SIZE // 2))

    def forward(self, pair: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits and every layer's features for ``pair`` (B, in_channels, *spatial)."""
        features = []
        hidden = pair
        for layer in self.layers:
            hidden = layer(hidden)
            features.append(hidden)
        return self.to_logits(hidden), features


class MultiScaleDiscriminator(nn.Module):
    """pix2pixHD's discriminator (Wang et al., CVPR 2018): PatchGANs that see ever coarser versions of their input.

    Each scale is fed a 2x average-pooled input of the one before: the finest judges texture, the coarsest anatomy.
    The defaults give 8.3 M parameters in 2-D and 33 M in 3-D.

    It sees ``(x, gain * (image - x))``: the same information as (x, image), but better conditioned. With spectral norm
    no layer can amplify, and in a wide HU window contrast and texture are a few hundredths of the range beside an
    anatomy that real and synthetic share: fed with (x, image) itself, an isolated D stays blind for hundreds of steps.

    Args:
        spatial_dims: 2 or 3.
        hidden_dim: features of each scale's first layer.
        num_layers: layers of each scale that halve the grid.
        num_scales: number of scales.
        contrast_gain: factor for the difference to the NCCT; use ``HUWindow.contrast_gain`` of the window.
        normed: with spectral norm on every convolution; without it D needs another bound, such as R1.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        hidden_dim: int = 64,
        num_layers: int = 3,
        num_scales: int = 3,
        contrast_gain: float = 1.0,
        normed: bool = True,
    ) -> None:
        super().__init__()
        self.contrast_gain = contrast_gain
        self.minimum_size = smallest_side(num_scales)
        self.scales = nn.ModuleList(
            PatchDiscriminator(spatial_dims, 2, hidden_dim, num_layers, normed) for _ in range(num_scales)
        )
        self.pool = Pool[Pool.AVG, spatial_dims](kernel_size=2)

    def forward(self, condition: torch.Tensor, image: torch.Tensor) -> Judgement:
        """Judge whether ``image`` is the real CTA that belongs to ``condition``.

        Args:
            condition: the NCCT x, (B, 1, *spatial) in [-1, 1].
            image: the real or the synthetic CTA, same shape and range.

        Raises:
            ValueError: if a side is shorter than ``minimum_size``.
        """
        if min(image.shape[2:]) < self.minimum_size:
            raise ValueError(
                f"the discriminator was given images of {tuple(image.shape[2:])} voxels, expected at least "
                f"{self.minimum_size} a side for {len(self.scales)} scales; use larger patches or fewer scales"
            )
        return self.judge(self.pair(condition, image))

    def pair(self, condition: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """What the scales see, (B, 2, *spatial): the condition, and the image's contrast to it times the gain."""
        return torch.cat((condition, self.contrast_gain * (image - condition)), dim=1)

    def judge(self, pair: torch.Tensor) -> Judgement:
        """Judge a ``pair``."""
        judgement = Judgement([], [])
        for index, scale in enumerate(self.scales):
            if index > 0:
                pair = self.pool(pair)
            logits, features = scale(pair)
            judgement.logits.append(logits)
            judgement.features.append(features)
        return judgement


@contextmanager
def frozen(module: nn.Module) -> Iterator[nn.Module]:
    """Use ``module`` without changing it: eval mode and no gradient for its parameters, both restored at the end.

    For D in the generator's step. Without it the generator's loss leaves gradients in D, and D is then trained to be
    fooled. Eval mode is needed too: spectral norm moves its vectors at each call in train mode, whatever
    ``requires_grad`` says. Gradients still flow through the module to its inputs.
    """
    training = {child: child.training for child in module.modules()}
    requires_grad = {parameter: parameter.requires_grad for parameter in module.parameters()}
    module.requires_grad_(False).eval()
    try:
        yield module
    finally:
        # Restored module by module: .train() would switch modules that were in eval mode before.
        for child, mode in training.items():
            child.training = mode
        for parameter, wanted in requires_grad.items():
            parameter.requires_grad_(wanted)
