"""Whether a virtual NCCT betrays where the iodine was: what is measured before a pair is accepted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.stats import rankdata

from ...common.coarse import coarse_grid
from ...common.hu import BONE_LOWER_HU
from ..limits import Limit
from .blood import FoundBlood
from .bone import with_marrow
from .local import dilated, eroded, local_mean, smoothed
from .making import VirtualPair

SMOOTH_MM = 2.0
WINDOW = 5  # voxels within a slice: the place of a local mean and a local standard deviation
SAMPLES = 20_000
ALIKE_HU = 50.0  # tissue that differs less from blood shows a rim between the two
BRIGHTER = 1.2  # than the brightest blood: bone's shell
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
    Limit(WALL, 25, False, "the rim at the walls in HU", "walls differ from both sides; look at the picture"),
    Limit(BONE, 20, False, "how much darker the darkest bone is than in the scan, in HU", "bone was taken for blood"),
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
    sigma = np.divide(SMOOTH_MM, spacing)
    smooth = smoothed(ncct, sigma)
    blood = smooth[inside]
    pairs = (ncct, smooth), (cta_hu, smoothed(cta_hu, sigma))
    noise = [[image[place] - low[place] for place in (inside, outside)] for image, low in pairs]
    correlations = [_correlation(*both) for both in zip(*noise, strict=True)]
    return {
        BLOOD_MEAN: _mean(blood),
        BLOOD_SPREAD: float(blood.std()) if blood.size else math.nan,
        NOISE_AUC: auc(spread[inside], spread[outside]),
        MEAN_AUC: auc(mean[inside], mean[outside]),
        CORRELATION: abs(correlations[0] - correlations[1]),
        WALL: _wall(ncct, found, spacing, _mean(blood)),
        BONE: _darkening(cta_hu, pair, found, spacing),
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


def _wall(ncct: np.ndarray, found: FoundBlood, spacing: Sequence[float], blood_hu: float) -> float:
    """The rim at large vessels' walls, bright or dark, in HU: inside or outside, whichever is larger.

    Measured where soft tissue of about the blood's level lies around, so that without a rim nothing shows at all.
    """
    large = dilated(eroded(found.blood, spacing, 4.0), spacing, 4.0) & found.blood
    others = dilated(found.bone | found.calcium | found.lung | (found.blood & ~large), spacing, 3.0)
    tissue = found.body & ~others & ~dilated(found.blood, spacing, 2.0)
    found_rims = []
    for rim in (large & ~eroded(large, spacing, 1.0) & ~others, dilated(large, spacing, 1.0) & ~large & ~others):
        around = local_mean(ncct, tissue, spacing, (3.0,), np.nan, rim)
        alike = np.abs(around - blood_hu) < ALIKE_HU
        found_rims.append(_mean((ncct[rim] - (around + blood_hu) / 2)[alike]))
    return float(np.nanmax(np.abs(found_rims))) if not np.isnan(found_rims).all() else math.nan


def _darkening(cta_hu: np.ndarray, pair: VirtualPair, found: FoundBlood, mm: Sequence[float]) -> float:
    """How much darker the darkest hundredth of bone has become, in HU, smoothed so that noise doesn't count.

    Bone is what was found as bone and, since bone that was taken for blood isn't among it, what lies within a shell
    that is too bright for blood. On a grid of about 2 mm.
    """
    steps, coarse = coarse_grid(mm, SMOOTH_MM)
    nth = tuple(slice(None, None, step) for step in steps)
    smooth = smoothed(cta_hu, np.divide(SMOOTH_MM / 2, mm))[nth]
    core = eroded(found.blood, mm, 4.0)[nth]
    brightest = max(BONE_LOWER_HU, BRIGHTER * float(np.percentile(smooth[core], 99)) if core.any() else 0.0)
    shell = (smooth > brightest) & (found.body & ~pair.ignore)[nth]
    bone = eroded(found.bone[nth] | with_marrow(shell, coarse), coarse, SMOOTH_MM)
    darker = smoothed(cta_hu - pair.ncct, np.divide(SMOOTH_MM, mm))[nth]
    return float(np.percentile(darker[bone], 99)) if bone.any() else math.nan
