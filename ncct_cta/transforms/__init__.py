"""MONAI transforms of a case and of a training patch, and what a chest CT shows: lungs, contrast."""

from .augmentation import RandPairedAffined
from .digest import preprocessing_digest
from .intensity import RoundHUd, ScaleHUWindowd
from .loading import LoadCTd
from .masks import BodyMaskd, LungMaskd, VesselMaskd
from .preprocessing import default_preprocessing, preprocess, preprocess_ncct

__all__ = [
    "BodyMaskd",
    "LoadCTd",
    "LungMaskd",
    "RandPairedAffined",
    "RoundHUd",
    "ScaleHUWindowd",
    "VesselMaskd",
    "default_preprocessing",
    "preprocess",
    "preprocess_ncct",
    "preprocessing_digest",
]
