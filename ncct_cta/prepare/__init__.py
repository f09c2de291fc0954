"""From a hospital's folders to checked, aligned pairs, and its command."""

from .command import main

__all__ = ["main"]
