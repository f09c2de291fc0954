"""The tissues of a case outside its vessels, and the vessels that are found in its CTA."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..common.hu import BONE_LOWER_HU, FAT_HU, LUNG_UPPER_HU, SOFT_TISSUE_HU
from ..common.keys import BODY, LUNG
from .case_images import CaseImages, cta_in_air, ncct_in_air
from .enhancement import near_marked_vessels
from .found_vessels import FoundVessels, Surroundings, find_vessels, surroundings
from .vessel_overlap import bright_of_case


class Tissue(NamedTuple):
    """A tissue: its name in a column, in a title, the HU it has in the NCCT, and whether it is the lung's."""

    name: str
    title: str
    lower_hu: float
    upper_hu: float
    in_lung: bool = False


MUSCLE = Tissue("muscle", "muscle and organs", *SOFT_TISSUE_HU)
TISSUES = (
    MUSCLE,
    Tissue("fat", "fat", *FAT_HU),
    Tissue("bone", "bone", BONE_LOWER_HU, math.inf),
    Tissue("lung_parenchyma", "lung parenchyma", -math.inf, LUNG_UPPER_HU, in_lung=True),
)


def tissue_voxels(case: CaseImages, tissue: Tissue) -> tuple[np.ndarray, ...]:
    """The voxels of a tissue outside the vessels, from the NCCT, as indices."""
    place = case.masks[LUNG] if tissue.in_lung else case.masks[BODY] & ~case.masks[LUNG]
    inside = (case.ncct > tissue.lower_hu) & (case.ncct < tissue.upper_hu) & place & ~case.once(_vessels)
    return np.nonzero(inside)


def surroundings_of_case(case: CaseImages) -> Surroundings:
    """What the NCCT says before vessels are searched."""
    bright = case.once(bright_of_case)
    return surroundings(case.once(ncct_in_air), case.masks[BODY], case.masks[LUNG], bright, case.spacing)


def vessels_of_cta(case: CaseImages) -> FoundVessels:
    """What the fixed method finds in the CTA."""
    return find_vessels(case.once(cta_in_air), case.once(surroundings_of_case))


def _vessels(case: CaseImages) -> np.ndarray:
    """The vessels that are marked, with what they reach, and those that are found."""
    return case.once(near_marked_vessels) | case.once(vessels_of_cta).faint
