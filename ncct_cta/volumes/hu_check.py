"""Whether values are Hounsfield units: judged by what was scanned, never by padding or by one extreme voxel."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from scipy import ndimage

from ..common.errors import InputError
from ..common.hu import (
    AIR_HU,
    CT_MUST_REACH_HU,
    INT16_RANGE,
    NEAR_AIR_HU,
    SHIFTED_TISSUE_HU,
    STORED_OFFSET_HU,
    WATER_HU,
)

# The percentiles between which the values are taken to lie: what is rarer proves nothing.
OUTER_PERCENTILES = (1, 99)
LEAST_DARK = 0.003  # of what was scanned: a body cut out of its air has its gas and the edge of the skin at least
LEAST_RANGE_HU = 100  # lung and muscle lie 800 HU apart
# A dark value is padding, not air with its noise, if so large a share of all dark voxels has this very value.
CONSTANT_SHARE = 0.2
CONSTANT_WITHIN_HU = 4  # what splines leave of it when a padded volume is resampled
BLURRED_EDGE = 3  # voxels around padding that an interpolation, splines included, has mixed with it
SAMPLED_EDGE = 96  # voxels along each axis that are looked at: shares need no more


def require_hu(array: np.ndarray, name: str | Path) -> None:
    """Check that a volume's values can be those of a CT in HU, whatever its padding holds.

    Args:
        array: (X, Y, Z), the values as they were read, padding included.
        name: what the error calls the volume.

    Raises:
        InputError: if too little of what was scanned is as dark as lung or air, or as bright as tissue.
    """
    require_hu_inside(_scanned(array), name)


def require_hu_inside(values: np.ndarray, name: str | Path, *, least_dark: float = LEAST_DARK) -> None:
    """Check the values of a region that holds no padding, such as the body.

    Args:
        values: the region's values, any shape.
        name: what the error calls the volume.
        least_dark: the share of the region that must be as dark as lung or air.

    Raises:
        InputError: if they lack dark or bright values, lie close together or beyond what a CT file holds; with the
            formula that mends them, if any.
    """
    low, high = (float(value) for value in np.percentile(values, OUTER_PERCENTILES))
    dark = float((values < CT_MUST_REACH_HU).mean())
    storable = low >= INT16_RANGE[0] and high <= INT16_RANGE[1]
    if storable and high - low >= LEAST_RANGE_HU and high > CT_MUST_REACH_HU and dark >= least_dark:
        return
    raise InputError(
        f"{name}: the values lie in [{low:.4g}, {high:.4g}], {dark:.1%} below {CT_MUST_REACH_HU}, but a CT in HU holds "
        f"air near {AIR_HU} and tissue near {WATER_HU}; give the CT in HU{_remedy(low, high)}"
    )


def _remedy(low: float, high: float) -> str:
    """How values in [low, high] become HU, to follow "give the CT in HU"."""
    if low == high:
        return ""
    if low < INT16_RANGE[0] or high > INT16_RANGE[1]:
        return f", within {INT16_RANGE}"
    if low >= -1 and high <= 1:
        scaled = "x" if low > -0.5 else "(x + 1) / 2"  # air lies at 0 or at -1, with its noise
        return f": LOWER + {scaled} * (UPPER - LOWER) undoes scaling from the window [LOWER, UPPER]"
    if low >= 0 and high <= 255:
        return ": LOWER + x / 255 * (UPPER - LOWER) undoes scaling from the window [LOWER, UPPER]"
    if high <= CT_MUST_REACH_HU:
        return f": x + {STORED_OFFSET_HU} undoes a shift by -{STORED_OFFSET_HU}"
    if high >= SHIFTED_TISSUE_HU:
        return f": x - {STORED_OFFSET_HU} undoes a shift by {STORED_OFFSET_HU}"
    return ", neither windowed nor normalised"


def _scanned(array: np.ndarray) -> np.ndarray:
    """The values of a sample of the voxels that were scanned: not padding, nor interpolated towards padding."""
    sample = array[tuple(slice(None, None, math.ceil(n / SAMPLED_EDGE)) for n in array.shape)]
    padding = _is_padding(sample)
    # Whatever resampled the volume has blurred the edge of its padding; scattered dark voxels have no such edge.
    core = ndimage.binary_erosion(padding, border_value=1)
    solid = ndimage.binary_propagation(core, mask=padding)
    scanned = sample[~(padding | ndimage.binary_dilation(solid, iterations=BLURRED_EDGE))]
    return scanned if scanned.size else sample


def _is_padding(values: np.ndarray) -> np.ndarray:
    """Where values are constant, and no brighter than air or darker than all other constant ones."""
    levels = np.rint(values / CONSTANT_WITHIN_HU) * CONSTANT_WITHIN_HU
    found, counts = np.unique(levels[values < CT_MUST_REACH_HU], return_counts=True)
    constant = found[counts >= CONSTANT_SHARE * counts.sum()]
    # A phantom's lung is constant too, but its air is darker.
    return np.isin(levels, constant[(constant <= NEAR_AIR_HU) | (constant == constant.min(initial=0))])
