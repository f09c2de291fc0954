"""Export of a trained network for other programs, and its command."""

from .command import main

__all__ = ["main"]
