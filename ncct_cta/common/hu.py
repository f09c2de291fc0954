"""Hounsfield units: all HU arithmetic is in this module.

HU are defined by water = 0 and air = -1000 (Hounsfield, Br. J. Radiol. 1973). The networks see a window of HU scaled
to [-1, 1]; everything written to a file is in HU again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from .errors import InputError

AIR_HU = -1000
WATER_HU = 0
INT16_RANGE = (-32768, 32767)
# The range that published CT synthesis results state most often (SynthRAD2023, Huijben et al., MedIA 2024).
SYNTHRAD_RANGE_HU = (-1024, 3071)
# A constant value up to here is air that was cleaned, or padding.
NEAR_AIR_HU = -990
# Above this a voxel of the body can't be air or lung: the threshold between lung parenchyma and soft tissue.
LUNG_UPPER_HU = -400
# The median of an air-filled organ lies below this for gas (bowel, stomach, pneumothorax), above it for lung
# parenchyma.
GAS_UPPER_HU = -970
# The trachea's mean on an axial slice lies below this, partial volume with its wall included.
TRACHEA_UPPER_HU = -850
# Thresholds under which the airways' lumen is grown; the highest one that doesn't leak into the lung is used. None is a
# round number: a synthetic lung of exactly -850 HU must be on one side of each.
AIRWAY_THRESHOLDS_HU = (-695, -745, -795, -845, -870, -895, -920, -945)
BONE_LOWER_HU = 250
# Above this a CTA shows blood with contrast, and an NCCT nothing but bone, calcium and metal.
CONTRAST_LOWER_HU = 150
# Muscle and other soft tissue including noise, without fat and bone.
SOFT_TISSUE_HU = (-20, 120)
# Fat including noise, without muscle.
FAT_HU = (-150, -40)
# Lung, gas and air are darker, and a chest CT always holds some; tissue is brighter, fat included.
CT_MUST_REACH_HU = -200
# What scanners subtract from the values that they store as unsigned integers; files that lack it are shifted by it.
STORED_OFFSET_HU = 1024
# A volume whose brightest voxels lie above this and that holds no air is shifted: tissue then lies near 1000.
SHIFTED_TISSUE_HU = 900
# Display windows that radiologists use: (lower, upper).
MEDIASTINAL_WINDOW_HU = (-160, 240)
LUNG_WINDOW_HU = (-1350, 150)
BONE_WINDOW_HU = (-450, 1050)
ANGIO_WINDOW_HU = (-100, 700)
# The discriminator sees differences to the NCCT in this unit: a weak contrast, several times the noise of a scan.
CONTRAST_UNIT_HU = 100
# Iodine raises a vessel's HU by at least this much; less is noise.
ENHANCEMENT_HU = 80
# A prediction that adds as much may mean a vessel, or a part of one at its wall.
POSSIBLE_VESSEL_HU = ENHANCEMENT_HU / 2
# An error as large as this is a gross one, about the contrast of a vein.
GROSS_ERROR_HU = 100
# A CT's own noise, which no network can know: predictions that agree are no nearer to the CTA than this.
SPREAD_FLOOR_HU = 20
# Range compared by registration: from air to bright vessels and bone; metal and dense bone would take up most of the
# histogram.
REGISTRATION_WINDOW_HU = (-1000, 400)
# Blood in the heart above this carries iodine: without iodine it has 30 to 70 HU, in an arterial phase 150 to 500.
CONTRAST_BLOOD_HU = 110

Array = TypeVar("Array", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class HUWindow:
    """A window of Hounsfield units and its mapping to the networks' range [-1, 1].

    Args:
        lower: HU that maps to -1.
        upper: HU that maps to 1.

    Raises:
        ValueError: if ``upper`` is not above ``lower``.
    """

    lower: float
    upper: float

    def __post_init__(self) -> None:
        if not self.upper > self.lower:
            raise ValueError(f"HU window [{self.lower}, {self.upper}]: the second value must be above the first")

    @property
    def half_width(self) -> float:
        """HU per unit of the networks' range."""
        return (self.upper - self.lower) / 2

    @property
    def contrast_gain(self) -> float:
        """Factor from a difference in the networks' range to units of ``CONTRAST_UNIT_HU``."""
        return self.half_width / CONTRAST_UNIT_HU

    @property
    def enhancement(self) -> float:
        """``ENHANCEMENT_HU`` as a difference in the networks' range."""
        return ENHANCEMENT_HU / self.half_width

    def normalise(self, hu: Array) -> Array:
        """Clip HU to the window and scale it to [-1, 1]; floating input keeps its type, integers become float32."""
        if isinstance(hu, np.ndarray) and not np.issubdtype(hu.dtype, np.floating):
            hu = hu.astype(np.float32)
        elif isinstance(hu, torch.Tensor) and not hu.is_floating_point():
            hu = hu.float()
        return (hu.clip(self.lower, self.upper) - self.lower) / self.half_width - 1

    def denormalise(self, normalised: Array) -> Array:
        """Scale values in [-1, 1] back to HU; nothing is clipped."""
        return (normalised + 1) * self.half_width + self.lower

    def apply_change(self, ncct_hu: Array, normalised_change: Array) -> Array:
        """Add a change predicted in the networks' range to the NCCT, in HU.

        ``output = NCCT + (prediction - x) * half-width``: where the network changes nothing the input's HU stay
        exact, also outside the window.

        Args:
            ncct_hu: the input volume in HU, any shape.
            normalised_change: ``prediction - x``, in units of the networks' range, same shape.
        """
        return ncct_hu + normalised_change * self.half_width


def to_int16_hu(hu: np.ndarray) -> np.ndarray:
    """Round HU to int16, the type that CT files use; values beyond int16 are clipped.

    Raises:
        InputError: if some aren't finite; int16 would show them as 0 HU, which is water.
    """
    wrong = int(np.count_nonzero(~np.isfinite(hu)))
    if wrong:
        raise InputError(f"{wrong} of {np.size(hu)} values are NaN or infinite, expected HU")
    return np.clip(np.rint(hu), *INT16_RANGE).astype(np.int16)
