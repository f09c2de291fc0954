"""From a contrast CT and its blood to an NCCT that could be of the same patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...common.hu import SOFT_TISSUE_HU, WATER_HU
from .blood import FoundBlood
from .local import dilated, eroded, smoothed
from .noise import ScanNoise, measure_noise
from .organs import EDGE_MM as ORGANS_EDGE_MM
from .organs import MOST_MUSCLE_HU, find_organs, muscle_uptake, take_uptake
from .removal import remove_iodine
from .variety import Drawn, VirtualSettings, draw

SMOOTH_MM = 2.0
EDGE_MM = 3.0  # even tissue lies this far from any edge
STREAK_MM = 12.0
SHARPEN = 0.7
LESS_ALIKE = 0.15  # than muscle, in the correlation with the CTA
TYPICAL_MUSCLE_HU = 55.0
APART_SD = 0.5


@dataclass(frozen=True)
class VirtualPair:
    """A virtual pair; arrays are (X, Y, Z).

    Args:
        ncct: float32 HU.
        muscle: even soft tissue without contrast, bool.
        ignore: where streaks from dense contrast stay, bool.
        drawn: what was drawn.
    """

    ncct: np.ndarray
    muscle: np.ndarray
    ignore: np.ndarray
    drawn: Drawn


def make_pair(
    cta_hu: np.ndarray,
    spacing: Sequence[float],
    found: FoundBlood,
    settings: VirtualSettings,
    random: np.random.Generator,
) -> VirtualPair:
    """Take the iodine out and let the NCCT differ from the CTA as two scans do.

    Args:
        cta_hu: (X, Y, Z) HU, axes towards right, anterior and superior.
        spacing: voxel edges in mm.
        found: its blood.
        settings: what to draw from.
        random: the case's stream.
    """
    hu = cta_hu.astype(np.float32)
    kept = found.bone | found.calcium
    smooth = smoothed(hu, np.divide(SMOOTH_MM, spacing)).astype(np.float16)  # nothing needs more digits of it
    tissue = found.body & ~found.lung & ~found.blood & ~kept
    even = tissue & ~dilated(found.blood, spacing, EDGE_MM)
    muscle = eroded(even & (smooth > WATER_HU + 20) & (smooth < SOFT_TISSUE_HU[1]), spacing, EDGE_MM)
    muscle_hu = float(np.median(smooth[muscle])) if muscle.any() else TYPICAL_MUSCLE_HU
    even = tissue & ~dilated(found.blood | found.lung | kept, spacing, ORGANS_EDGE_MM)
    organs = find_organs(hu, even, muscle_hu, found.level_hu, spacing)
    muscle &= ~dilated(organs, spacing, EDGE_MM)
    # Two levels this far apart, whose local means spread as widely, are told apart with an AUC of 0.64.
    apart = APART_SD * float(smooth[muscle].astype(np.float32).std()) if muscle.any() else 0.0
    drawn = draw(settings, random, min(muscle_hu, MOST_MUSCLE_HU), apart)
    inside = eroded(found.blood, spacing, EDGE_MM) & ~found.dense
    noise = measure_noise(hu, muscle, inside, spacing)
    beside = tissue & ~even & (smooth > muscle_hu)
    lost_in_organs = take_uptake(hu, organs, even, beside, found, spacing, muscle_hu=muscle_hu, share=drawn.organs)
    hu -= muscle_uptake(smooth, muscle_hu) * tissue
    del smooth, tissue, even, beside  # a scan may have 80 million voxels: no more than a few images of them at a time
    removed = remove_iodine(
        hu, found.blood, kept, found.lung, spacing, level_hu=found.level_hu, target_hu=drawn.blood_hu, overwrite=True
    )
    # Blood is quieter than muscle in the scan already, and "quiet means vessel" is what a network would learn.
    put_back = np.maximum(removed.lost, lost_in_organs, out=lost_in_organs)
    put_back *= noise.strength_hu
    put_back = np.hypot(put_back, _filled(noise, inside, drawn.noise) * found.blood * noise.missing_hu, out=put_back)
    put_back *= noise.fresh(random)
    put_back += removed.hu
    del hu, removed
    ncct = _as_reconstructed(put_back, spacing, drawn)
    fresh = noise.fresh(random)
    fresh *= noise.strength_hu
    ncct += np.float32(drawn.noise) * fresh
    return VirtualPair(ncct, muscle, dilated(found.dense, spacing, STREAK_MM) & found.body, drawn)


def _filled(noise: ScanNoise, blood: np.ndarray, fresh: float) -> float:
    """How much of its missing noise blood gets: all, unless it would then differ from the CTA more than muscle does.

    What is filled in is new, so that the noise's correlation with the CTA is ``1 / sqrt(1 + (filled^2 + fresh^2) /
    own^2)`` in blood. That may lie ``LESS_ALIKE`` below muscle's, for which nothing is filled in.

    Args:
        noise: the scan's.
        blood: even blood.
        fresh: the fresh noise, in units of the scan's own.
    """
    if not blood.any():
        return 1.0
    strength, missing = (np.median(image[blood].astype(np.float32)) for image in (noise.strength_hu, noise.missing_hu))
    if missing == 0:
        return 1.0
    least = 1 / np.sqrt(1 + fresh**2) - LESS_ALIKE
    most = (strength**2 - missing**2) * (1 / least**2 - 1) - (fresh * strength) ** 2
    return float(np.sqrt(np.clip(most / missing**2, 0, 1)))


def _as_reconstructed(hu: np.ndarray, spacing: Sequence[float], drawn: Drawn) -> np.ndarray:
    """The NCCT with its own kernel and slice thickness, slices where the CTA has them."""
    sigma = [abs(drawn.kernel_mm) / spacing[0], abs(drawn.kernel_mm) / spacing[1], 0]
    if drawn.kernel_mm > 0:
        hu = smoothed(hu, sigma)
    elif drawn.kernel_mm < 0:
        hu = hu + SHARPEN * (hu - smoothed(hu, sigma))
    slices = round(drawn.thickness_mm / spacing[2])
    return ndimage.uniform_filter1d(hu, slices, axis=2) if slices > 1 else hu
