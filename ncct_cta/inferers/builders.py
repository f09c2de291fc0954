"""The inferer from the settings."""

from __future__ import annotations

from ..common.hu import HUWindow
from ..networks import Generator
from ..settings import DataConfig, TrainConfig
from .volume import VolumeInferer


def build_inferer(data: DataConfig, generator: Generator, train: TrainConfig) -> VolumeInferer:
    """How the cascade of ``generator`` covers a volume, in validation and in inference."""
    return VolumeInferer(
        window=HUWindow(*data.window),
        patch_size=data.patch_size,
        multiple=generator.multiple,
        batch_size=train.batch_size,
        amp=train.amp,
    )
