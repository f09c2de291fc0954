"""A toy chest for the scores of vessels: soft tissue, one lung, a trunk and branches, drawn with partial volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

SIZE_MM, FINE = (76.8, 64.0, 64.0), (0.8, 0.8, 1.0)
AIR, LUNG, TISSUE, BLOOD, CONTRAST, FAT, BONE = -1000, -850, 50, 40, 350, -100, 700
NOISE = 20.0
TRUNK = ((12.0, 32.0, 32.0), (68.0, 32.0, 32.0), 3.0)  # from, to, radius in mm
BRANCHES = (((40.0, 32.0, 32.0), (40.0, 56.0, 32.0), 1.5), ((24.0, 32.0, 32.0), (24.0, 32.0, 56.0), 1.5))
FREE = ((20.0, 14.0, 14.0), (56.0, 14.0, 14.0))  # from, to: lung without vessels


def volume_ml(start, end, radius: float) -> float:
    return np.pi * radius**2 * float(np.linalg.norm(np.subtract(end, start))) / 1000


class ToyChest:
    """The chest on a grid of its own."""

    def __init__(self, spacing: Sequence[float] = FINE) -> None:
        self.spacing = tuple(spacing)
        self.shape = tuple(round(mm / edge) for mm, edge in zip(SIZE_MM, spacing, strict=True))
        self.parts = math.ceil(spacing[0] / 1.0)  # of a voxel's edge, so that coarse voxels have true partial volumes

    @cached_property
    def _points(self) -> np.ndarray:
        """The middles of the voxels' parts, in mm."""
        inside = [(np.arange(n * self.parts) + 0.5) / self.parts - 0.5 for n in self.shape]
        axes = (at * edge for at, edge in zip(inside, self.spacing, strict=True))
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1)

    def tube(self, start, end, radius: float) -> np.ndarray:
        """The fraction of each voxel within a tube with flat ends."""
        start, end = np.array(start), np.array(end)
        axis = (end - start) / np.linalg.norm(end - start)
        along = (self._points - start) @ axis
        distance = np.linalg.norm(self._points - start - along[..., None] * axis, axis=-1)
        beside = np.maximum(np.maximum(-along, along - np.linalg.norm(end - start)), distance - radius)
        fraction = np.clip(0.5 - beside / (self.spacing[0] / self.parts), 0, 1)
        return fraction.reshape([n for size in self.shape for n in (size, self.parts)]).mean(axis=(1, 3, 5))

    def _box(self, *sides_mm: tuple[float, float]) -> tuple[slice, ...]:
        """From where to where along each axis; from the end where negative."""
        pairs = zip(sides_mm, self.spacing, strict=False)
        return tuple(slice(*(round(mm / edge) for mm in side)) for side, edge in pairs)

    def lung_mask(self) -> np.ndarray:
        inside = np.zeros(self.shape, bool)
        inside[self._box((6.4, -6.4), (6.4, -6.4), (4, -4))] = True
        return inside

    def without_vessels(self) -> np.ndarray:
        """Lung in soft tissue, with a layer of fat and a rib, in air."""
        image = np.full(self.shape, AIR, np.float32)
        image[self._box((1.6, -1.6), (1.6, -1.6))] = TISSUE
        image[self._box((1.6, -1.6), (1.6, 3.2))] = FAT
        image[self._box((24, 48), (-4.8, -2.4), (20, 24))] = BONE
        image[self.lung_mask()] = LUNG
        return image

    def with_vessels(self, hu: float, tubes=(TRUNK, *BRANCHES), thicker: float = 0.0) -> np.ndarray:
        """The chest with tubes of blood; ``thicker``: mm added to their radii."""
        image, fraction = self.without_vessels(), self.vessels(tubes, thicker)
        return image + fraction * (hu - image)

    def vessels(self, tubes=(TRUNK, *BRANCHES), thicker: float = 0.0) -> np.ndarray:
        """The fraction of each voxel within vessels."""
        return np.max([self.tube(start, end, radius + thicker) for start, end, radius in tubes], axis=0)

    def noise(self, seed: int, hu: float = NOISE) -> np.ndarray:
        return hu * np.random.default_rng(seed).standard_normal(self.shape, np.float32)
