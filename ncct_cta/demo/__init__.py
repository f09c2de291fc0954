"""The whole way on phantoms, and its command."""

from .command import main

__all__ = ["main"]
