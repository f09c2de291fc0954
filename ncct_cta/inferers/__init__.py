"""How a network that sees slices or patches covers a whole volume."""

from .volume import VolumeInferer

__all__ = ["VolumeInferer"]
