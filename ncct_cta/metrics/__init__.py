"""Regions of a chest CT, scores in HU over them, their catalogue, and the HU remap baseline."""

from .baselines import HURemap
from .case_images import CaseImages, ComparedImages
from .catalogue import PRIMARY, columns, headlines, register, scores
from .enhancement import enhancement_recovery
from .metric import Column, Metric
from .regions import NONVESSEL, body_mask, regions, vessel_mask_from_pair
from .vessel_overlap import dice
from .voxelwise import mean_absolute_error

__all__ = [
    "NONVESSEL",
    "PRIMARY",
    "CaseImages",
    "Column",
    "ComparedImages",
    "HURemap",
    "Metric",
    "body_mask",
    "columns",
    "dice",
    "enhancement_recovery",
    "headlines",
    "mean_absolute_error",
    "regions",
    "register",
    "scores",
    "vessel_mask_from_pair",
]
