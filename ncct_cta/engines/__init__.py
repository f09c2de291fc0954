"""Ignite engines: what happens in one iteration."""

from .adversarial import AdversarialSynthesisTrainer
from .evaluator import SynthesisEvaluator
from .inference import InferenceEngine, synthesise
from .trainer import SynthesisTrainer
from .updates import NetworkUpdate

__all__ = [
    "AdversarialSynthesisTrainer",
    "InferenceEngine",
    "NetworkUpdate",
    "SynthesisEvaluator",
    "SynthesisTrainer",
    "synthesise",
]
