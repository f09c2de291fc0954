"""Ignite engines: what happens in one iteration."""

from .adversarial_trainer import AdversarialSynthesisTrainer
from .adversary import Adversary
from .evaluator import SynthesisEvaluator
from .inference import InferenceEngine
from .synthesis import synthesise
from .trainer import SynthesisTrainer
from .updates import NetworkUpdate

__all__ = [
    "AdversarialSynthesisTrainer",
    "Adversary",
    "InferenceEngine",
    "NetworkUpdate",
    "SynthesisEvaluator",
    "SynthesisTrainer",
    "synthesise",
]
