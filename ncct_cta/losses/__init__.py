"""Losses: reconstruction, its form for misaligned pairs, and the adversarial terms."""

from .adversarial import AdversarialLoss, FeatureMatchingLoss
from .aligned import Aligned, AlignedReconstruction
from .reconstruction import ReconstructionLoss

__all__ = ["AdversarialLoss", "Aligned", "AlignedReconstruction", "FeatureMatchingLoss", "ReconstructionLoss"]
