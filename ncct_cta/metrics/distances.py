"""Distances between few voxels and a mask, in mm: a distance transform of a whole chest would take a minute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def beyond(voxels: np.ndarray, mask: np.ndarray, distance_mm: float, spacing: Sequence[float]) -> np.ndarray:
    """Those of some voxels whose centres are farther than a distance from every voxel of a mask.

    Args:
        voxels: boolean, (X, Y, Z); the fewer they are, the faster.
        mask: boolean, same shape.
        distance_mm: along an axis whose voxels are longer than it, one voxel is within.
        spacing: voxel edges in mm.

    Returns:
        boolean, same shape.
    """
    offsets = _ball(distance_mm, spacing)
    # The padding keeps the neighbours of a voxel at the border from being those of the next row.
    reach = np.abs(offsets).max(axis=0)
    padded = np.pad(mask, [(n, n) for n in reach])
    strides = np.array(padded.strides)
    flat = padded.ravel()
    where = np.nonzero(voxels & ~mask)
    left = sum((axis + n) * stride for axis, n, stride in zip(where, reach, strides, strict=True))
    kept = np.arange(len(where[0]))
    for step in offsets @ strides:
        far = ~flat[left + step]
        left, kept = left[far], kept[far]
    found = np.zeros(mask.shape, bool)
    found[tuple(axis[kept] for axis in where)] = True
    return found


def _ball(radius_mm: float, spacing: Sequence[float]) -> np.ndarray:
    """The steps to all voxels within a radius, (N, 3), the farthest first: these soonest leave a narrow mask."""
    radii = np.array([max(radius_mm / edge, 1) for edge in spacing])
    reach = np.floor(radii).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.square(steps / radii).sum(axis=1)
    order = np.argsort(-length, kind="stable")
    return steps[order][length[order] <= 1 + 1e-9]
