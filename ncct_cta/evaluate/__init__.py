"""Evaluation: scores of saved predictions, their statistics and the report, and its command."""

from .command import main

__all__ = ["main"]
