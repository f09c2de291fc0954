"""The level of blood in which contrast has not mixed: a mean over the near voxels that are about as bright.

Left and right heart differ by 100 HU and more and lie side by side, and within a chamber contrast flows in streams. A
mean over all that is near levels such edges out, and one over the nearest alone follows the scan's noise. The mean here
is bilateral (Tomasi and Manduchi, ICCV 1998), worked out on a coarse grid of place and level (Paris and Durand, ECCV
2006). The first round judges what is alike by a noisy estimate, the second by the first one's mean, more strictly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from .local import CHUNK, local_mean
from .noise import spread_of

# Standard deviations of the first estimate, of which the narrowest is taken whose own noise is small: in a CT of thick
# slices or much noise the level would follow it, and taking it out would leave vessels quieter than muscle.
GUIDES_MM = (1.2, 2.5)
MOST_NOISE_HU = 2.5
FAR_MM = 5.0  # where too little blood is near
NEAR_MM = 5.0
ALIKE_HU = (25.0, 15.0)  # standard deviations, by round: above the guide's noise, below the differences of blood
BIN_HU = 15.0
LEAST_WEIGHT = 1e-3  # voxels; less is rounding


def blood_level(hu: np.ndarray, core: np.ndarray, where: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The level within large vessels around each voxel of ``where``.

    Args:
        hu: (X, Y, Z) HU.
        core: the inside of large vessels, bool.
        where: the N voxels that are asked for, bool; those of ``core`` among them.
        spacing: voxel edges in mm.

    Returns:
        (N,) float32 HU, NaN far from any core.
    """
    voxels, values, inside = np.flatnonzero(where), hu[where], core[where]
    for guide_mm in GUIDES_MM:
        level = local_mean(hu, core, spacing, (guide_mm, FAR_MM), np.nan, where)
        known = inside & ~np.isnan(level)
        if not known.any():
            return level
        if _noise_of_mean(values[known] - level[known], guide_mm, spacing) <= MOST_NOISE_HU:
            break
    values, alike = values[known], level[known]
    steps = [max(1, int(NEAR_MM / edge)) for edge in spacing]
    sigma = [NEAR_MM / (edge * step) for edge, step in zip(spacing, steps, strict=True)]
    for alike_hu in ALIKE_HU:
        grid = _Grid(hu.shape, steps, float(alike.min()), float(alike.max()))
        grid.add(voxels[known], alike, values)
        grid.blur([*sigma, alike_hu / BIN_HU])
        level[known] = alike = grid.mean(voxels[known], alike)
    level[~known] = grid.mean(voxels[~known], level[~known])
    return level


def _noise_of_mean(deviations_hu: np.ndarray, sigma_mm: float, spacing: Sequence[float]) -> float:
    """The standard deviation of a Gaussian mean over voxels whose noise is independent, HU.

    ``SD * prod(1 / sqrt(2 sqrt(pi) sigma))``, sigma in voxels: the root of the sum of the squared weights.
    """
    return spread_of(deviations_hu) / float(np.prod(np.sqrt(2 * np.sqrt(np.pi) * sigma_mm / np.asarray(spacing))))


class _Grid:
    """Sums of HU over cells of place and level.

    Args:
        shape: of the image.
        steps: voxels along a cell's edges.
        low, high: the levels in it, HU.
    """

    def __init__(self, shape: Sequence[int], steps: Sequence[int], low: float, high: float) -> None:
        self.image, self.steps, self.low = tuple(shape), steps, low
        bins = int((high - low) / BIN_HU) + 2
        self.shape = (*(-(-size // step) for size, step in zip(shape, steps, strict=True)), bins)
        self.weight = self.above = np.zeros(self.shape, np.float32)

    def add(self, voxels: np.ndarray, level: np.ndarray, hu: np.ndarray) -> None:
        """Put voxels, given by their flat index, into the cells of their place and level."""
        places = np.unravel_index(voxels, self.image)
        cells = [place // step for place, step in zip(places, self.steps, strict=True)]
        flat = np.ravel_multi_index([*cells, np.rint((level - self.low) / BIN_HU).astype(np.intp)], self.shape)
        size = self.weight.size
        self.weight = np.bincount(flat, minlength=size).astype(np.float32).reshape(self.shape)
        self.above = np.bincount(flat, hu - self.low, size).astype(np.float32).reshape(self.shape)

    def blur(self, sigma: Sequence[float]) -> None:
        """Gaussian weights by place and level, standard deviations in cells."""
        for sums in (self.weight, self.above):
            ndimage.gaussian_filter(sums, sigma, output=sums, mode="constant", truncate=3.0)

    def mean(self, voxels: np.ndarray, level: np.ndarray) -> np.ndarray:
        """The mean around voxels, given by their flat index and their level; their level itself where nothing is."""
        found = level.copy()
        for start in range(0, len(voxels), CHUNK):
            part = slice(start, start + CHUNK)
            cells = [
                (place + 0.5) / step - 0.5
                for place, step in zip(np.unravel_index(voxels[part], self.image), self.steps, strict=True)
            ]
            at = [*cells, np.nan_to_num((level[part] - self.low) / BIN_HU)]
            weight, above = (
                ndimage.map_coordinates(sums, at, np.float32, order=1, mode="nearest")
                for sums in (self.weight, self.above)
            )
            seen = (weight > LEAST_WEIGHT) & ~np.isnan(level[part])
            found[part][seen] = above[seen] / weight[seen] + self.low
        return found
