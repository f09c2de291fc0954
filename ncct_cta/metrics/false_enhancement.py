"""Is there contrast where there should be none? The prediction's excess over the CTA in tissues without vessels."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from .case_images import ComparedImages
from .metric import Metric
from .tissues import TISSUES, Tissue, tissue_voxels


def false_enhancement_hu(images: ComparedImages, tissue: Tissue) -> float:
    """``mean(prediction - CTA)`` in HU over a tissue outside the vessels; NaN where there is none."""
    where = images.case.once(tissue_voxels, tissue)
    if not where[0].size:
        return math.nan
    excess = images.prediction[where].astype(np.float32) - images.case.cta[where]
    return float(excess.mean(dtype=np.float64))


def _metric(tissue: Tissue) -> Metric:
    return Metric(
        name=f"{tissue.name}_false_enhancement_hu",
        compute=partial(false_enhancement_hu, tissue=tissue),
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
