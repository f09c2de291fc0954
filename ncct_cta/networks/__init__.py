"""Pure networks: G, G2 and the cascade that training, inference and export share; R and D, which only training uses."""

from .cascade import FUSION_CHANNELS, Stages, SynthesisCascade, Synthesizer, intermediate_image, root_image
from .discriminator import Judgement, MultiScaleDiscriminator, frozen
from .generator import Generator, middle_slice, watched_gates
from .refine_net import RefineNet
from .registration import RegistrationNet, SmoothnessLoss, warp

__all__ = [
    "FUSION_CHANNELS",
    "Generator",
    "Judgement",
    "MultiScaleDiscriminator",
    "RefineNet",
    "RegistrationNet",
    "SmoothnessLoss",
    "Stages",
    "SynthesisCascade",
    "Synthesizer",
    "frozen",
    "intermediate_image",
    "middle_slice",
    "root_image",
    "warp",
    "watched_gates",
]
