"""Regions of a chest CT, scores in HU over them, and the baseline that every result stands beside."""

from .baselines import HURemap
from .regions import NONVESSEL, body_mask, regions, vessel_mask_from_pair
from .scorer import Scorer
from .similarity import SYNTHRAD_RANGE, range_name
from .vessels import dice, enhancement_recovery
from .voxelwise import mean_absolute_error

__all__ = [
    "NONVESSEL",
    "SYNTHRAD_RANGE",
    "HURemap",
    "Scorer",
    "body_mask",
    "dice",
    "enhancement_recovery",
    "mean_absolute_error",
    "range_name",
    "regions",
    "vessel_mask_from_pair",
]
