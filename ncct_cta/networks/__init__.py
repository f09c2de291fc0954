"""Pure networks: the generator and the cascade that training, inference and export share."""

from .cascade import Stages, SynthesisCascade, Synthesizer, intermediate_image
from .generator import Generator

__all__ = ["Generator", "Stages", "SynthesisCascade", "Synthesizer", "intermediate_image"]
