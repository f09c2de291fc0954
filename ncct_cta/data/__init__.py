"""Case lists, reading and writing volumes, lung mask, volume store, datasets and the phantom."""

from .cases import Case, read_case_list, read_inputs
from .datasets import EpochSampler, InputCases, PairedCases, PatchDataset, VolumeDataset

__all__ = [
    "Case",
    "EpochSampler",
    "InputCases",
    "PairedCases",
    "PatchDataset",
    "VolumeDataset",
    "read_case_list",
    "read_inputs",
]
