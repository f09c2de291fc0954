"""Is there contrast where there should be none? The prediction's excess over the CTA in tissues without vessels."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from ..common.hu import BONE_LOWER_HU, FAT_HU, LUNG_UPPER_HU, SOFT_TISSUE_HU
from ..common.keys import BODY, LUNG
from .case_images import CaseImages, ComparedImages
from .enhancement import near_marked_vessels
from .hallucination import vessels_of_cta
from .metric import Metric


class Tissue(NamedTuple):
    """A tissue: its name in a column, in a title, the HU it has in the NCCT, and whether it is the lung's."""

    name: str
    title: str
    lower_hu: float
    upper_hu: float
    in_lung: bool = False


TISSUES = (
    Tissue("muscle", "muscle and organs", *SOFT_TISSUE_HU),
    Tissue("fat", "fat", *FAT_HU),
    Tissue("bone", "bone", BONE_LOWER_HU, math.inf),
    Tissue("lung_parenchyma", "lung parenchyma", -math.inf, LUNG_UPPER_HU, in_lung=True),
)


def _false_enhancement(images: ComparedImages, *, tissue: Tissue) -> float:
    """``mean(prediction - CTA)`` in HU over a tissue outside the vessels; NaN where there is none."""
    where = images.case.once(_voxels, tissue)
    if not where[0].size:
        return math.nan
    excess = images.prediction[where].astype(np.float32) - images.case.cta[where]
    return float(excess.mean(dtype=np.float64))


def _voxels(case: CaseImages, tissue: Tissue) -> tuple[np.ndarray, ...]:
    """The voxels of a tissue, from the NCCT, as indices."""
    place = case.masks[LUNG] if tissue.in_lung else case.masks[BODY] & ~case.masks[LUNG]
    inside = (case.ncct > tissue.lower_hu) & (case.ncct < tissue.upper_hu) & place & ~case.once(_vessels)
    return np.nonzero(inside)


def _vessels(case: CaseImages) -> np.ndarray:
    """The vessels that are marked, with what they reach, and those that are found."""
    return case.once(near_marked_vessels) | case.once(vessels_of_cta).faint


def _metric(tissue: Tissue) -> Metric:
    return Metric(
        name=f"{tissue.name}_false_enhancement_hu",
        compute=partial(_false_enhancement, tissue=tissue),
        title=f"false enhancement, {tissue.title}",
        short="false HU",
        unit="HU",
        limits=(-math.inf, math.inf),
        better="zero",
        meaning=f"mean of prediction - CTA in {tissue.title} outside the vessels: above 0 is contrast that isn't there",
        missing=f"the NCCT shows no {tissue.title}",
        where=tissue.name.split("_")[0],
    )


METRICS = tuple(_metric(tissue) for tissue in TISSUES)
