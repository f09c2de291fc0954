"""Recipes trained for equal time, their report, and the command."""

from .command import main

__all__ = ["main"]
