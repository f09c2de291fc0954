"""The inferer from the settings."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm

from ..common.hu import HUWindow
from ..networks import Generator
from ..settings import DataConfig, TrainConfig
from .volume import VolumeInferer

# What these make of a voxel depends on the mean and spread of a whole slice, patch or volume.
NORMALISES_BY_ALL = (_InstanceNorm, nn.GroupNorm)


def build_inferer(data: DataConfig, generator: Generator, train: TrainConfig) -> VolumeInferer:
    """How the cascade of ``generator`` covers a volume, in validation and in inference.

    A network that normalises by all that it sees (``NORMALISES_BY_ALL``) gets windows of the training patch's size.
    """
    return VolumeInferer(
        window=HUWindow(*data.window),
        patch_size=data.patch_size,
        multiple=generator.multiple,
        batch_size=train.batch_size,
        amp=train.amp,
        in_slices=generator.in_slices,
        windowed=any(isinstance(layer, NORMALISES_BY_ALL) for layer in generator.modules()),
    )
