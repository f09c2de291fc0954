"""Organs that took up contrast, and how they and muscle get back to their level without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...metrics.regions import without_specks
from .blood import FoundBlood
from .local import dilated, eroded, local_mean, smoothed
from .removal import remove_iodine

# Soft tissue brighter than muscle by this much has taken up contrast; without it liver is the brightest, by 10 HU.
UPTAKE_HU = 20.0
ORGAN_ML = 5.0
EDGE_MM = 1.5  # what lies as near to blood, lung or bone holds some of it
LEVEL_MM = (2.0,)
OPENING_MM = 1.0
BESIDE_MM = (3.0, 6.0)  # standard deviations: how far around a voxel beside blood its tissue is looked at
BLUR_MM = 0.7  # of a voxel's blood
MOST_MUSCLE_HU = 58.0  # without contrast


def find_organs(
    hu: np.ndarray, even: np.ndarray, muscle_hu: float, blood_hu: float, spacing: Sequence[float]
) -> np.ndarray:
    """The large pieces of bright soft tissue: myocardium, liver, spleen, kidneys, thyroid.

    Args:
        hu: (X, Y, Z) HU.
        even: tissue ``EDGE_MM`` away from all else, bool.
        muscle_hu: muscle's level.
        blood_hu: enhanced blood's.
        spacing: voxel edges in mm.
    """
    level = local_mean(hu, even, spacing, LEVEL_MM, 0.0, even)
    bright = np.zeros(hu.shape, bool)
    bright[even] = (level > muscle_hu + UPTAKE_HU) & (level < blood_hu)
    opened = dilated(eroded(bright, spacing, OPENING_MM), spacing, OPENING_MM) & bright
    return without_specks(opened, spacing, 1000 * ORGAN_ML)


def take_uptake(
    hu: np.ndarray,
    organs: np.ndarray,
    even: np.ndarray,
    beside: np.ndarray,
    found: FoundBlood,
    spacing: Sequence[float],
    *,
    muscle_hu: float,
    share: float,
) -> np.ndarray:
    """Bring organs towards muscle's level, in place; the share of the noise that this loses, (X, Y, Z) float32.

    What lies beside blood (the inner layer of the myocardium) is too bright to be judged by itself. It is taken for
    organ as far as the even tissue around is.

    Args:
        hu: (X, Y, Z) float32 HU.
        organs: as ``find_organs`` finds them.
        even: tissue away from blood and bone, bool.
        beside: tissue beside blood that is as bright as muscle or brighter, bool.
        found: the scan's blood, bone and lungs.
        spacing: voxel edges in mm.
        muscle_hu: muscle's level.
        share: of their uptake that organs lose.
    """
    if not organs.any():
        return np.zeros(hu.shape, np.float32)
    level = float(hu[organs].mean())
    target = muscle_hu + (1 - share) * (level - muscle_hu)
    near = local_mean(hu, organs, spacing, BESIDE_MM, target, beside)
    alike = local_mean(organs.astype(np.float32), even, spacing, BESIDE_MM, 0.0, beside)
    blood = smoothed(found.blood, np.divide(BLUR_MM, spacing))[beside]
    kept = found.bone | found.calcium | found.blood
    removed = remove_iodine(
        hu, organs, kept, found.lung, spacing, level_hu=level, target_hu=target, changed=organs, overwrite=True
    )
    hu[beside] += (1 - blood) * alike * np.minimum(target - near, 0)
    return removed.lost


def muscle_uptake(smooth: np.ndarray, muscle_hu: float) -> np.ndarray:
    """What muscle took up, HU: it is not seen at once, but blood can't be made as bright. Fat takes up none."""
    share = np.clip(smooth / np.float32(max(muscle_hu, 1.0)), 0, 1)
    return np.float32(max(muscle_hu - MOST_MUSCLE_HU, 0.0)) * share
