"""A coarser grid of whole voxels, where a search on all of a scan's would only cost time."""

from __future__ import annotations

from collections.abc import Sequence


def coarse_grid(spacing: Sequence[float], wanted_mm: float) -> tuple[list[int], list[float]]:
    """Every how manieth voxel to take along each axis for edges of about ``wanted_mm``, and those edges in mm.

    Args:
        spacing: the scan's voxel edges in mm; one that is longer already stays.
        wanted_mm: the coarse grid's.
    """
    steps = [max(1, round(wanted_mm / edge)) for edge in spacing]
    return steps, [step * edge for step, edge in zip(steps, spacing, strict=True)]
