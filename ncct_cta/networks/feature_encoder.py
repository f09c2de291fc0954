"""Networks whose features a perceptual loss compares: one that is trained here on masks, and VGG from a user's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from monai.networks.layers.factories import Conv, Pool
from torch import nn
from torch.nn import functional as F

CHANNELS = (16, 32, 64, 128)
# torchvision's VGG, whose layers are numbered with the ReLU behind each convolution and the pooling between levels.
VGG_KEY = "features.{}.weight"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FeatureEncoder(nn.Module):
    """Two convolutions a level and a 2x average pooling between levels, without normalisation.

    Batch or instance norm would make a voxel's features depend on what else is in the patch.

    Args:
        spatial_dims: 2 or 3.
        channels: features per level.
    """

    def __init__(self, spatial_dims: int = 2, channels: Sequence[int] = CHANNELS) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        conv = Conv[Conv.CONV, spatial_dims]
        self.levels = nn.ModuleList()
        for before, after in zip((1, *channels), channels):  # noqa: B905
            first, second = conv(before, after, 3, padding=1), conv(after, after, 3, padding=1)
            self.levels.append(nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2)))
        self.pool = Pool[Pool.AVG, spatial_dims](kernel_size=2)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The features of every level, finest first, of ``image`` (B, 1, *spatial) in [-1, 1]."""
        features: list[torch.Tensor] = []
        for level in self.levels:
            image = level(self.pool(image) if features else image)
            features.append(image)
        return features


class MaskHead(nn.Module):
    """Logits of masks from an encoder's features: the sum over levels of a 1x1 convolution, upsampled.

    Args:
        spatial_dims: 2 or 3.
        channels: features per level of the encoder.
        masks: how many.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int], masks: int) -> None:
        super().__init__()
        self.mode = {2: "bilinear", 3: "trilinear"}[spatial_dims]
        conv = Conv[Conv.CONV, spatial_dims]
        self.levels = nn.ModuleList(conv(width, masks, 1) for width in channels)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """(B, masks, *spatial) on the grid of the first level."""
        logits = [level(image) for level, image in zip(self.levels, features, strict=True)]
        whole = logits[0].shape[2:]
        upsampled = [F.interpolate(each, size=whole, mode=self.mode) for each in logits[1:]]
        return torch.stack([logits[0], *upsampled]).sum(dim=0)


class VGGFeatures(nn.Module):
    """The convolutions of torchvision's VGG (Simonyan & Zisserman, ICLR 2015), built from its weights.

    Grey values are its three colours, and the window [-1, 1] its [0, 1], normalised as ImageNet's images are.

    Args:
        weights: ``features.N.weight`` and ``features.N.bias``; other entries, the classifier's, aren't used.

    Raises:
        ValueError: if there are none.
    """

    spatial_dims = 2
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        numbers = sorted(
            int(name.split(".")[1]) for name in weights if name.startswith("features.") and "weight" in name
        )
        if not numbers:
            raise ValueError("there is no features.N.weight among the weights")
        self.levels = nn.ModuleList()
        layers: list[nn.Module] = []
        for before, number in zip((-2, *numbers), numbers):  # noqa: B905
            if number - before > 2:  # a pooling lies between: a level ends
                self.levels.append(nn.Sequential(*layers))
                layers = [nn.MaxPool2d(2)]
            weight, bias = weights[VGG_KEY.format(number)], weights[f"features.{number}.bias"]
            conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=weight.shape[2] // 2)
            conv.weight, conv.bias = nn.Parameter(weight.float()), nn.Parameter(bias.float())
            layers += [conv, nn.ReLU()]
        self.levels.append(nn.Sequential(*layers))
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The features of every level, finest first, of ``image`` (B, 1, X, Y) in [-1, 1]."""
        image = ((image + 1) / 2 - self.mean) / self.std
        features = []
        for level in self.levels:
            image = level(image)
            features.append(image)
        return features
