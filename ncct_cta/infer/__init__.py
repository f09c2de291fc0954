"""Inference: from scans to synthetic CTAs, and its command."""

from .command import main

__all__ = ["main"]
