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
TYPICAL_MUSCLE_HU, MOST_MUSCLE_HU = 55.0, 58.0  # without contrast


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
    tissue = found.body & ~found.lung & ~found.blood & ~kept
    even = tissue & ~dilated(found.blood, spacing, EDGE_MM)
    muscle = eroded(even & (smooth > WATER_HU + 20) & (smooth < SOFT_TISSUE_HU[1]), spacing, EDGE_MM)
    muscle_hu = float(np.median(smooth[muscle])) if muscle.any() else TYPICAL_MUSCLE_HU
    organs = _organs(even & (smooth > muscle_hu + UPTAKE_HU) & (smooth < found.level_hu), spacing)
    muscle &= ~dilated(organs, spacing, EDGE_MM)
    drawn = draw(settings, random, min(muscle_hu, MOST_MUSCLE_HU))
    noise = measure_noise(hu, muscle, eroded(found.blood, spacing, EDGE_MM) & ~found.dense, spacing)
    hu, lost_in_organs = _organs_unenhanced(hu, organs, kept | found.blood, found.lung, spacing, muscle_hu, drawn)
    hu -= _uptake(smooth, muscle_hu) * tissue
    removed = remove_iodine(
        hu, found.blood, kept, found.lung, spacing, level_hu=found.level_hu, target_hu=drawn.blood_hu
    )
    # Blood is quieter than muscle in the scan already, and "quiet means vessel" is what a network would learn.
    put_back = np.hypot(np.maximum(removed.lost, lost_in_organs) * noise.strength_hu, found.blood * noise.missing_hu)
    clean = removed.hu + put_back * noise.fresh(random)
    ncct = _as_reconstructed(clean, spacing, drawn) + drawn.noise * noise.strength_hu * noise.fresh(random)
    return VirtualPair(ncct, muscle, dilated(found.dense, spacing, STREAK_MM) & found.body, drawn)


def _organs_unenhanced(
    hu: np.ndarray,
    organs: np.ndarray,
    kept: np.ndarray,
    lung: np.ndarray,
    spacing: Sequence[float],
    muscle_hu: float,
    drawn: Drawn,
) -> tuple[np.ndarray, np.ndarray]:
    """Bring organs towards muscle's level by the drawn share; the HU, and the share of the noise that was lost."""
    if not organs.any():
        return hu, np.zeros(hu.shape, np.float32)
    level = float(hu[organs].mean())
    target = muscle_hu + (1 - drawn.organs) * (level - muscle_hu)
    removed = remove_iodine(hu, organs, kept, lung, spacing, level_hu=level, target_hu=target)
    return np.where(organs, removed.hu, hu), np.where(organs, removed.lost, 0)


def _uptake(smooth: np.ndarray, muscle_hu: float) -> np.ndarray:
    """What muscle took up, HU: it is not seen at once, but blood can't be made as bright. Fat takes up none."""
    share = np.clip(smooth / max(muscle_hu, 1.0), 0, 1)
    return np.float32(max(muscle_hu - MOST_MUSCLE_HU, 0.0)) * share


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
