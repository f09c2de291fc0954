"""A chest of a few thousand voxels: air, tissue and two lungs with their noise, as the checks of values need it."""

from __future__ import annotations

import numpy as np

SHAPE = (40, 32, 12)


def chest_hu(noise_hu: float = 15.0, seed: int = 0) -> np.ndarray:
    """(X, Y, Z) int16 HU."""
    x, y = _axes()
    lungs = ((np.abs(x) - 0.35) / 0.22) ** 2 + (y / 0.5) ** 2 < 1
    hu = np.where(lungs, -850, np.where(body(), 40, -1000))
    return (hu + np.random.default_rng(seed).normal(0, noise_hu, SHAPE)).astype(np.int16)


def body() -> np.ndarray:
    """(X, Y, Z) boolean: the chest with its lungs."""
    x, y = _axes()
    return (x / 0.8) ** 2 + (y / 0.75) ** 2 < 1


def outside_circle() -> np.ndarray:
    """(X, Y, Z) boolean: where a scanner reconstructs nothing."""
    x, y = _axes()
    return x**2 + y**2 > 1


def _axes() -> tuple[np.ndarray, np.ndarray]:
    x, y, _ = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return x, y
