"""Looking at a case in a browser, and its command."""

from .command import main

__all__ = ["main"]
