"""Training: the run from folder to finish, and its command."""

from .command import main

__all__ = ["main"]
