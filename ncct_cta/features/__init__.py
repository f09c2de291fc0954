"""An encoder for the perceptual loss, trained on a cohort's own masks, and the command."""

from .command import main

__all__ = ["main"]
