"""How bright the contrast makes the blood, and what follows from it for thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...common.errors import InputError
from ...common.hu import CONTRAST_BLOOD_HU, SOFT_TISSUE_HU

TISSUE_HU = 50.0  # muscle, and blood without iodine
SMOOTHING_MM = 2.0
SURFACE_MM = 6.0  # distance from the lungs: their partial volume isn't blood
BIN_HU = 5
ABOVE_TISSUE_HU = 15.0  # myocardium isn't brighter than the liver by more
MIN_BLOOD_ML = 15.0
BRIGHTEST = 97  # percentile of the blood


@dataclass(frozen=True)
class BloodLevel:
    """The level of enhanced blood, that of enhanced organs (myocardium, liver), and the thresholds between them.

    Args:
        hu: enhanced blood.
        tissue_hu: the brightest soft tissue that is no blood.
        brightest_hu: the brightest of the heart's blood: left and right heart fill at different times.
    """

    hu: float
    tissue_hu: float
    brightest_hu: float

    @property
    def contrast(self) -> float:
        """Blood above tissue, HU."""
        return self.hu - self.tissue_hu

    @property
    def weakest(self) -> float:
        """The lowest blood that is looked for: contrast hasn't mixed evenly in all chambers."""
        return self.tissue_hu + max(0.3 * self.contrast, min(0.5 * self.contrast, 40.0))

    @property
    def smoothing_mm(self) -> float:
        """Standard deviation of the smoothing against noise: the weaker the contrast, the more of it."""
        return float(np.clip(100 / self.contrast, 0.5, 1.5))

    def threshold(self, local_hu: np.ndarray) -> np.ndarray:
        """Midway between tissue and the blood nearby: a voxel of the wall is blood if more than half of it is."""
        return (TISSUE_HU + local_hu) / 2

    @property
    def even_range(self) -> tuple[float, float]:
        """Means that a box inside blood has, mixing of contrast included."""
        return self.tissue_hu + 0.45 * self.contrast, self.densest

    @property
    def even_spread(self) -> float:
        """The largest standard deviation of a box inside blood, on the coarse grid."""
        return max(15.0, 0.12 * self.contrast)

    @property
    def densest(self) -> float:
        """Above this it is contrast before it has mixed with the heart's blood, calcium, bone or metal."""
        return max(self.hu + max(60.0, 0.5 * self.contrast), self.brightest_hu + 60.0)


def measure_level(hu: np.ndarray, mm: Sequence[float], lung: np.ndarray, heart: np.ndarray) -> BloodLevel:
    """Measure the level in the heart and the great vessels: the mode of what is brighter than soft tissue.

    Args:
        hu: (X, Y, Z) HU on the coarse grid.
        mm: voxel edges in mm.
        lung: boolean, same shape.
        heart: the place between the lungs, boolean, same shape.

    Raises:
        InputError: if there is no heart, or no contrast in it.
    """
    inner = heart & (ndimage.distance_transform_edt(~lung, mm) > SURFACE_MM)
    smooth = ndimage.gaussian_filter(hu, np.divide(SMOOTHING_MM, mm))
    tissue = _tissue_level(smooth, lung)
    blood = smooth[inner & (smooth > max(CONTRAST_BLOOD_HU, tissue + ABOVE_TISSUE_HU))]
    found_ml = blood.size * float(np.prod(mm)) / 1000
    if found_ml < MIN_BLOOD_ML:
        raise InputError(
            f"{found_ml:.0f} ml above {CONTRAST_BLOOD_HU} HU between the lungs, expected the heart's blood "
            f"({MIN_BLOOD_ML:.0f} ml or more): give a chest CT with contrast"
        )
    return BloodLevel(_mode(blood), tissue, float(np.percentile(blood, BRIGHTEST)))


def _tissue_level(smooth: np.ndarray, lung: np.ndarray) -> float:
    """The level of the organs below the lungs (liver, spleen), which the myocardium is close to in a venous phase."""
    below = np.logical_or.accumulate(lung[..., ::-1], axis=2)[..., ::-1] & ~lung
    low, high = SOFT_TISSUE_HU
    organs = smooth[below & (smooth > low) & (smooth < high)]
    return max(TISSUE_HU, _mode(organs)) if organs.size else TISSUE_HU


def _mode(values: np.ndarray) -> float:
    """The most frequent value, from a smoothed histogram."""
    edges = np.arange(values.min(), values.max() + 2 * BIN_HU, BIN_HU)
    counts, _ = np.histogram(values, edges)
    peak = int(np.argmax(ndimage.gaussian_filter1d(counts.astype(float), 2)))
    return float(edges[peak] + BIN_HU / 2)
