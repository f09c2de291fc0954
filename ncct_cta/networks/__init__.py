"""Pure networks: the generator and the cascade that training, inference and export share."""

from .cascade import FUSION_CHANNELS, Stages, SynthesisCascade, Synthesizer, intermediate_image
from .generator import Generator
from .refine_net import RefineNet

__all__ = [
    "FUSION_CHANNELS",
    "Generator",
    "RefineNet",
    "Stages",
    "SynthesisCascade",
    "Synthesizer",
    "intermediate_image",
]
