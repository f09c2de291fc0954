"""Whether a virtual NCCT betrays where the iodine was: what is measured before a pair is accepted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata

from ..limits import Limit
from .blood import FoundBlood
from .local import dilated, eroded
from .making import VirtualPair

SMOOTH_MM = 2.0
WINDOW = 5  # voxels within a slice: the place of a local mean and a local standard deviation
SAMPLES = 20_000
BLOOD_MEAN, BLOOD_SPREAD = "blood_hu", "blood_spread_hu"
NOISE_AUC, MEAN_AUC = "noise_auc", "mean_auc"
CORRELATION, WALL, BONE = "correlation_difference", "wall_hu", "bone_darker_hu"

LIMITS = (
    Limit(BLOOD_MEAN, 30, True, "the blood's level in HU", "iodine was taken for tissue, or the reverse; look at it"),
    Limit(BLOOD_MEAN, 60, False, "the blood's level in HU", "iodine is left; look at the vessels in the picture"),
    Limit(BLOOD_SPREAD, 20, False, "the blood's spread in HU", "contrast is mixed unevenly; look at the picture"),
    Limit(NOISE_AUC, 0.65, False, "the AUC of the local noise", "vessels are more or less noisy than muscle"),
    Limit(MEAN_AUC, 0.65, False, "the AUC of the local mean", "vessels are brighter or darker than muscle"),
    Limit(CORRELATION, 0.2, False, "the difference of the NCCT-CTA correlation inside and outside vessels",
          "the noise of vessels isn't the scan's"),
    Limit(WALL, 25, False, "the edge left at the walls in HU", "vessels have rims; look at the picture"),
    Limit(BONE, 20, False, "how much darker bone is than in the scan, in HU", "bone was taken for blood"),
)  # fmt: skip


def auc(a: np.ndarray, b: np.ndarray) -> float:
    """Area under the ROC curve of telling ``a`` from ``b``, 0.5 to 1 whichever is larger; NaN if one is empty."""
    if not a.size or not b.size:
        return math.nan
    ranks = rankdata(np.concatenate([a, b]))[: a.size].sum()
    area = (ranks - a.size * (a.size + 1) / 2) / (a.size * b.size)
    return float(max(area, 1 - area))


def measure(cta_hu: np.ndarray, pair: VirtualPair, found: FoundBlood, spacing: Sequence[float]) -> dict[str, float]:
    """Score a virtual pair; see ``LIMITS``. NaN where there is nothing to measure.

    Args:
        cta_hu: (X, Y, Z) HU.
        pair: made from it.
        found: its blood.
        spacing: voxel edges in mm.
    """
    ncct = pair.ncct
    random = np.random.default_rng(0)
    core = eroded(found.blood, spacing, 4.0) & ~pair.ignore
    muscle = pair.muscle & ~pair.ignore
    mean, spread = _local(ncct)
    inside, outside = (_some(mask, random) for mask in (core, muscle))
    smooth = ndimage.gaussian_filter(ncct, np.divide(SMOOTH_MM, spacing))
    blood = smooth[inside]
    noise = [image - ndimage.gaussian_filter(image, np.divide(SMOOTH_MM, spacing)) for image in (ncct, cta_hu)]
    correlations = [_correlation(*(image[place] for image in noise)) for place in (inside, outside)]
    return {
        BLOOD_MEAN: _mean(blood),
        BLOOD_SPREAD: float(blood.std()) if blood.size else math.nan,
        NOISE_AUC: auc(spread[inside], spread[outside]),
        MEAN_AUC: auc(mean[inside], mean[outside]),
        CORRELATION: abs(correlations[0] - correlations[1]),
        WALL: _wall(smooth, found, spacing, _mean(blood)),
        BONE: _darkening(cta_hu, ncct, found, spacing),
    }


def _local(hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = (WINDOW, WINDOW, 1)
    mean = ndimage.uniform_filter(hu, size)
    return mean, np.sqrt(np.maximum(ndimage.uniform_filter((hu - mean) ** 2, size), 0))


def _some(mask: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    flat = np.flatnonzero(mask)
    return np.unravel_index(random.choice(flat, min(SAMPLES, flat.size), replace=False), mask.shape)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.size > 1 else math.nan


def _wall(smooth: np.ndarray, found: FoundBlood, spacing: Sequence[float], blood: float) -> float:
    """How far large vessels' walls lie above both sides, in the mediastinum: a bright rim."""
    large = dilated(eroded(found.blood, spacing, 4.0), spacing, 4.0) & found.blood
    rim = large & ~eroded(large, spacing, 1.0) & ~found.lung & ~dilated(found.bone | found.calcium, spacing, 3.0)
    return max(_mean(smooth[rim]) - blood, 0.0) if rim.any() else math.nan


def _darkening(cta_hu: np.ndarray, ncct: np.ndarray, found: FoundBlood, spacing: Sequence[float]) -> float:
    """The median darkening of bone, smoothed so that noise doesn't count."""
    inside = eroded(found.bone, spacing, 1.0)
    return float(np.median((cta_hu - ncct)[inside])) if inside.any() else math.nan
