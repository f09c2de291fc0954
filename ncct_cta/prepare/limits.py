"""Limits that a case's scores must meet, and in words what is wrong with one that doesn't."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """A limit that a case's score must meet.

    Args:
        score: its name among the case's scores.
        bound: the last acceptable value.
        at_least: whether scores below the bound are bad; otherwise those above.
        words: description of the score.
        hint: what a bad value means, and what to do.
    """

    score: str
    bound: float
    at_least: bool
    words: str
    hint: str

    def broken_by(self, value: float) -> bool:
        """Whether a value breaks the limit; so does NaN, a score that couldn't be measured."""
        return math.isnan(value) or (value < self.bound if self.at_least else value > self.bound)


def flags(scores: Mapping[str, float], limits: tuple[Limit, ...]) -> list[str]:
    """Return what is wrong with a case: one sentence for each limit that its scores break."""
    return [
        f"{limit.words} {_in_words(scores[limit.score])}, expected {'at least' if limit.at_least else 'at most'} "
        f"{limit.bound:g}: {limit.hint}"
        for limit in limits
        if limit.broken_by(scores[limit.score])
    ]


def _in_words(score: float) -> str:
    return "could not be measured" if math.isnan(score) else f"is {score:.3g}"
