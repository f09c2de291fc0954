"""The record of a prepared case, as stored in its file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GOOD, FLAGGED, ACCEPTED = "good", "flagged", "accepted"


@dataclass(frozen=True)
class Record:
    """A finished case.

    Args:
        case: its name.
        patient: whom it belongs to.
        scores: what ``quality.measure`` and ``quality.contrast_scores`` gave; None if there was nothing to measure.
        flags: what is wrong with it.
        accepted: whether the user accepts it although it is flagged.
        empty: the kinds of its masks that hold no voxel: the case list leaves them out.
    """

    case: str
    patient: str
    scores: Mapping[str, float | None]
    flags: tuple[str, ...]
    accepted: bool = False
    empty: tuple[str, ...] = ()

    @classmethod
    def from_file(cls, content: Mapping[str, Any], *, accepted: bool) -> Record:
        """The record of a case from the content of its file."""
        words = tuple(content["flags"]), accepted, tuple(content.get("empty", ()))
        return cls(content["case"], content["patient"], content["scores"], *words)

    @property
    def state(self) -> str:
        """``good``; ``flagged`` (not in the case list); or ``accepted`` (flagged, but in the case list)."""
        if not self.flags:
            return GOOD
        return ACCEPTED if self.accepted else FLAGGED

    def score(self, name: str) -> float:
        """A score; NaN where there was nothing to measure."""
        value = self.scores.get(name)
        return math.nan if value is None else value
