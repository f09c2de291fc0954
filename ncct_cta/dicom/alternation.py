"""Whether slices belong to two scans by turns, judged by their HU: where no header says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .headers import DicomFile
from .positions import positions_along_normal
from .slice_pixels import UnreadablePixelsError, read_slice

LEAST_SLICES = 8
LOOKED_AT = 16  # slices in the middle of the series: enough to be sure, and quickly read
PERCENTILES = (1, 10, 25, 50, 75, 90, 95, 97, 99)  # lung, fat, muscle, vessels with contrast, bone
LEAST_JUMP_HU = 10.0  # what two scans differ by at least in one percentile or in noise; detector rows differ by less
# How many times more than slices two steps apart: one scan changes slowly, and the further the more.
LEAST_RATIO = 3.0


def take_turns(files: Sequence[DicomFile]) -> bool:
    """Whether the slices, by their positions, jump to and fro between two scans.

    Args:
        files: slices of one geometry, each at a position of its own.

    Returns:
        False too where there are fewer than ``LEAST_SLICES``, or where pixels can't be read: the reader says so.
    """
    if len(files) < LEAST_SLICES:
        return False
    ordered = [files[i] for i in np.argsort(positions_along_normal(files))]
    first = max(0, (len(ordered) - LOOKED_AT) // 2)
    try:
        slices = [read_slice(file) for file in ordered[first : first + LOOKED_AT]]
    except UnreadablePixelsError:
        return False
    return jump_by_turns(np.array([_figures(hu) for hu in slices]))


def jump_by_turns(figures: np.ndarray) -> bool:
    """Whether one of the figures of successive slices, (slices, figures) HU, jumps up and down by turns."""
    between = figures[1:-1] - (figures[:-2] + figures[2:]) / 2
    turns = between * np.resize([1.0, -1.0], len(between))[:, None]
    is_steady = (turns > 0).all(axis=0) | (turns < 0).all(axis=0)
    jump, drift = np.abs(turns).mean(axis=0), np.abs(figures[2:] - figures[:-2]).mean(axis=0)
    return bool((is_steady & (jump > LEAST_JUMP_HU) & (jump > LEAST_RATIO * drift)).any())


def _figures(hu: np.ndarray) -> np.ndarray:
    """What tells one scan's slice from another's: percentiles, and the noise with the edges."""
    noise = np.median(np.abs(np.diff(hu.astype(np.float32), axis=1)))
    return np.array([*np.percentile(hu, PERCENTILES), noise])
