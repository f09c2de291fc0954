"""The phantom's breathing: a smooth displacement that is largest at the diaphragm and never folds."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter

from .anatomy import REFERENCE_FOV_MM, Grid

# The window t^a (1 - t)^b over the height of the volume: zero at both ends, so that the ground truth never comes from
# outside, and largest at t = a / (a + b), the diaphragm.
_LOW_POWER, _HIGH_POWER = 1.6, 3.2
_INVERSION_STEPS = 12
SLAB_SLICES = 8


class Breathing:
    """Where each point of the NCCT lies in the CTA: ``p_cta = p_ncct + displacement(p_ncct)``.

    Args:
        rng: draws the direction and the centre.
        grid: the volume's voxel centres, in the phantom's mm.
        spacing: voxel size in mm of the scanner.
        motion_mm: largest norm of the displacement over the voxels, mm.
    """

    def __init__(
        self, rng: np.random.Generator, grid: Grid, spacing: tuple[float, float, float], motion_mm: float
    ) -> None:
        self.grid, self.spacing = grid, spacing
        self._sign = float(rng.choice([-1.0, 1.0]))
        self._centre = (float(rng.uniform(-10, 10)), float(rng.uniform(-14, 6)))
        self._sideways = float(rng.uniform(-0.12, 0.12))
        self._forwards = float(rng.uniform(0.2, 0.4))
        self._scale = 1.0
        peak = max(
            float(np.sqrt(sum(part**2 for part in self._at(grid.x, grid.y, plane))).max())
            for plane in np.split(grid.z, grid.z.size, axis=2)
        )
        self._scale = motion_mm / peak

    def _at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Displacement (mm along x, y, z) at points given in the phantom's mm."""
        low, high = float(self.grid.z.flat[0]), float(self.grid.z.flat[-1])
        t = np.clip((z - low) / max(high - low, 1e-6), 0, 1)
        window = self._scale * self._sign * t**_LOW_POWER * (1 - t) ** _HIGH_POWER
        x, y = (x - self._centre[0]) / 90, (y - self._centre[1]) / 75
        window = window * np.exp(-(x**2) - y**2)
        return self._sideways * x * window, self._forwards * window, -window

    def displacement(self, span: slice) -> np.ndarray:
        """(X, Y, slices, 3) float32: mm along x (left), y (back), z (head) at the NCCT's voxels."""
        part = self.grid.slab(span)
        return np.stack(self._at(part.x, part.y, part.z), axis=-1).astype(np.float32)

    def _to_voxels(self, displacement: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[np.ndarray]:
        return [mm / size for mm, size in zip(displacement, self.spacing, strict=True)]

    def warp(self, aligned: np.ndarray) -> np.ndarray:
        """Move a volume (X, Y, Z) from the NCCT's space into the CTA's: ``moved(p + displacement(p)) = aligned(p)``."""
        coefficients = spline_filter(aligned, order=3, output=np.float32, mode="mirror")
        moved = np.empty_like(aligned)
        for start in range(0, self.grid.z.size, SLAB_SLICES):
            span = slice(start, start + SLAB_SLICES)
            source = self._source_voxels(span)
            moved[..., span] = map_coordinates(coefficients, source, order=3, mode="mirror", prefilter=False)
        return moved

    def _source_voxels(self, span: slice) -> list[np.ndarray]:
        """Voxel coordinates in the NCCT of the CTA's voxels, by fixed-point iteration ``p = q - displacement(p)``."""
        part = self.grid.slab(span)
        centres = (part.x, part.y, part.z)
        offset: list[np.ndarray] = [np.zeros((1, 1, 1), np.float32)] * 3
        for _ in range(_INVERSION_STEPS):
            points = [c - o * size for c, o, size in zip(centres, offset, self.grid.voxel, strict=True)]
            offset = self._to_voxels(self._at(points[0], points[1], points[2]))
        sizes = (self.grid.x.size, self.grid.y.size, self.grid.z.size)
        starts = (0, 0, span.start)
        shape = (sizes[0], sizes[1], part.z.size)
        index = np.indices(shape, dtype=np.float32)
        return [index[d] + starts[d] - offset[d] for d in range(3)]


def largest_motion(fov_mm: tuple[float, float, float]) -> float:
    """The largest motion (mm) for which the displacement can't fold in a field of view.

    At 0.1 of the (scaled) height its steepest slope, 4.7 times the motion per height, keeps the Jacobian above 0.5.
    """
    scale = min(extent / reference for extent, reference in zip(fov_mm, REFERENCE_FOV_MM, strict=True))
    return 0.1 * scale * REFERENCE_FOV_MM[2]
