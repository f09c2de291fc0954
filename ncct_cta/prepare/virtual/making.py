"""From a contrast CT and its blood to an NCCT that could be of the same patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...common.hu import SOFT_TISSUE_HU, WATER_HU
from .blood import FoundBlood
from .local import dilated, eroded
from .noise import measure_noise
from .removal import remove_iodine
from .variety import Drawn, VirtualSettings, draw

SMOOTH_MM = 2.0
EDGE_MM = 3.0  # even tissue lies this far from any edge
# Soft tissue brighter than muscle by this much has taken up contrast; without it liver is the brightest, by 10 HU.
UPTAKE_HU = 20.0
ORGAN_ML = 5.0
STREAK_MM = 12.0
SHARPEN = 0.7
TYPICAL_MUSCLE_HU = 55.0


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
    smooth = ndimage.gaussian_filter(hu, np.divide(SMOOTH_MM, spacing))
    near_blood = dilated(found.blood, spacing, EDGE_MM)
    tissue = found.body & ~found.lung & ~near_blood & ~kept
    muscle = eroded(tissue & (smooth > WATER_HU + 20) & (smooth < SOFT_TISSUE_HU[1]), spacing, EDGE_MM)
    muscle_hu = float(np.median(smooth[muscle])) if muscle.any() else TYPICAL_MUSCLE_HU
    organs = _organs(tissue & (smooth > muscle_hu + UPTAKE_HU) & (smooth < found.level_hu), spacing)
    muscle &= ~dilated(organs, spacing, EDGE_MM)
    drawn = draw(settings, random, muscle_hu)
    core = eroded(found.blood, spacing, EDGE_MM) & ~found.dense
    noise = measure_noise(hu, muscle | core, spacing)
    lost = np.zeros(hu.shape, np.float32)
    if organs.any():
        target = muscle_hu + (1 - drawn.organs) * (smooth[organs].mean() - muscle_hu)
        known = organs | found.blood
        removed = remove_iodine(
            hu, organs, kept | found.blood, found.lung, spacing, level_hu=float(smooth[organs].mean()), target_hu=target
        )
        hu, lost = np.where(known, removed.hu, hu), np.where(known, removed.lost, lost)
    removed = remove_iodine(
        hu, found.blood, kept, found.lung, spacing, level_hu=found.level_hu, target_hu=drawn.blood_hu
    )
    lost = np.maximum(lost, removed.lost)
    own, added = noise.fresh(random) * noise.strength_hu, noise.fresh(random) * noise.strength_hu
    ncct = _as_reconstructed(removed.hu + lost * own, spacing, drawn)
    ignore = dilated(found.dense, spacing, STREAK_MM) & found.body
    return VirtualPair(ncct + drawn.noise * added, muscle, ignore, drawn)


def _organs(bright: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The large pieces of bright soft tissue: myocardium, liver, spleen, kidneys, thyroid."""
    opened = dilated(eroded(bright, spacing, SMOOTH_MM), spacing, SMOOTH_MM) & bright
    labels, _ = ndimage.label(opened)
    large = np.bincount(labels.ravel()) * float(np.prod(spacing)) / 1000 > ORGAN_ML
    large[0] = False
    organs: np.ndarray = large[labels]
    return organs


def _as_reconstructed(hu: np.ndarray, spacing: Sequence[float], drawn: Drawn) -> np.ndarray:
    """The NCCT with its own kernel and slice thickness, slices where the CTA has them."""
    sigma = [abs(drawn.kernel_mm) / spacing[0], abs(drawn.kernel_mm) / spacing[1], 0]
    if drawn.kernel_mm > 0:
        hu = ndimage.gaussian_filter(hu, sigma)
    elif drawn.kernel_mm < 0:
        hu = hu + SHARPEN * (hu - ndimage.gaussian_filter(hu, sigma))
    slices = round(drawn.thickness_mm / spacing[2])
    return ndimage.uniform_filter1d(hu, slices, axis=2) if slices > 1 else hu
