"""Synthetic thorax CT of patients that never existed, and its command."""

from .command import main

__all__ = ["main"]
