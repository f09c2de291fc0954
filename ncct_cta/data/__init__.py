"""Case lists, reading and writing volumes, lung mask, volume store, datasets and the phantom."""

from .cases import Case, read_case_list
from .datasets import EpochSampler, InputCases, PairedCases, PatchDataset, VolumeDataset
from .inputs import read_inputs

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
