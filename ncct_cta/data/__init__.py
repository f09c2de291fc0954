"""Case lists, the volume store and the datasets over it."""

from .cases import Case, read_case_list
from .datasets import EpochSampler, PairedCases, PatchDataset, VolumeDataset

__all__ = [
    "Case",
    "EpochSampler",
    "PairedCases",
    "PatchDataset",
    "VolumeDataset",
    "read_case_list",
]
