"""Case lists, the volume store and the datasets over it."""

from .case_list import read_case_list
from .cases import Case
from .datasets import EpochSampler, PatchDataset, VolumeDataset
from .paired_cases import PairedCases

__all__ = [
    "Case",
    "EpochSampler",
    "PairedCases",
    "PatchDataset",
    "VolumeDataset",
    "read_case_list",
]
