"""Packing: a trained model as one file with its card, and its command."""

from .command import main

__all__ = ["main"]
