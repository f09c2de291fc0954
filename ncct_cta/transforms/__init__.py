"""MONAI transforms of a case and of a training patch, and what a chest CT shows: lungs, contrast."""

from .augmentation import RandMovement
from .digest import preprocessing_digest
from .intensity import RoundHUd, ScaleHUWindowd
from .loading import LoadCTd
from .masks import BodyMaskd, LungMaskd, VesselMaskd
from .movement import moved_patches
from .preprocessing import default_preprocessing, preprocess, preprocess_ncct

__all__ = [
    "BodyMaskd",
    "LoadCTd",
    "LungMaskd",
    "RandMovement",
    "RoundHUd",
    "ScaleHUWindowd",
    "VesselMaskd",
    "default_preprocessing",
    "moved_patches",
    "preprocess",
    "preprocess_ncct",
    "preprocessing_digest",
]
