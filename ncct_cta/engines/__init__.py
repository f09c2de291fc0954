"""Ignite engines: what happens in one iteration."""

from .evaluator import SynthesisEvaluator
from .trainer import SynthesisTrainer

__all__ = ["SynthesisEvaluator", "SynthesisTrainer"]
