"""A toy chest for the scores of vessels: soft tissue, one lung, a trunk and branches, drawn with partial volume."""

from __future__ import annotations

import numpy as np

SHAPE, SPACING = (96, 80, 64), (0.8, 0.8, 1.0)
AIR, LUNG, TISSUE, BLOOD, CONTRAST, FAT, BONE = -1000, -850, 50, 40, 350, -100, 700
NOISE = 20.0
GRID = np.stack(np.meshgrid(*(np.arange(n) * mm for n, mm in zip(SHAPE, SPACING, strict=True)), indexing="ij"), -1)
TRUNK = ((12.0, 32.0, 32.0), (68.0, 32.0, 32.0), 3.0)  # from, to, radius in mm
BRANCHES = (((40.0, 32.0, 32.0), (40.0, 56.0, 32.0), 1.5), ((24.0, 32.0, 32.0), (24.0, 32.0, 56.0), 1.5))
FREE = ((20.0, 14.0, 14.0), (56.0, 14.0, 14.0))  # from, to: lung without vessels


def tube(start, end, radius: float) -> np.ndarray:
    """The fraction of each voxel within a tube with flat ends."""
    start, end = np.array(start), np.array(end)
    axis = (end - start) / np.linalg.norm(end - start)
    along = (GRID - start) @ axis
    distance = np.linalg.norm(GRID - start - along[..., None] * axis, axis=-1)
    beside = np.maximum(np.maximum(-along, along - np.linalg.norm(end - start)), distance - radius)
    return np.clip(0.5 - beside / 0.8, 0, 1)


def volume_ml(start, end, radius: float) -> float:
    return np.pi * radius**2 * float(np.linalg.norm(np.subtract(end, start))) / 1000


def lung_mask() -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[8:-8, 8:-8, 4:-4] = True
    return inside


def chest() -> np.ndarray:
    """Lung in soft tissue, with a layer of fat and a rib, in air."""
    image = np.full(SHAPE, AIR, np.float32)
    image[2:-2, 2:-2] = TISSUE
    image[2:-2, 2:4] = FAT
    image[30:60, -6:-3, 20:24] = BONE
    image[lung_mask()] = LUNG
    return image


def with_vessels(image: np.ndarray, hu: float, tubes=(TRUNK, *BRANCHES), thicker: float = 0.0) -> np.ndarray:
    """Draw tubes of blood; ``thicker``: mm added to their radii."""
    fraction = np.max([tube(start, end, radius + thicker) for start, end, radius in tubes], axis=0)
    return image + fraction * (hu - image)


def noise(seed: int, hu: float = NOISE) -> np.ndarray:
    return hu * np.random.default_rng(seed).standard_normal(SHAPE, np.float32)
