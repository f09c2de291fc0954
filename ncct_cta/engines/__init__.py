"""Ignite engines: what happens in one iteration."""

from .evaluator import SynthesisEvaluator
from .inference import InferenceEngine, synthesise
from .trainer import SynthesisTrainer

__all__ = ["InferenceEngine", "SynthesisEvaluator", "SynthesisTrainer", "synthesise"]
