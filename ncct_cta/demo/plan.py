"""What the demo trains, and how the files are called that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

COHORT, PREDICTIONS, EVALUATION, PREVIEW = "phantom", "predictions", "evaluation", "preview.png"
SUMMARY, TABLE, REPORT = "summary.json", "table.txt", "report.html"


@dataclass(frozen=True)
class Stage:
    """A training of the demo and its inference.

    Args:
        name: in the table and in summary.json.
        folder: of the run, in the demo's folder.
        preset: what it is trained from.
        steps: optimiser steps.
        epochs: into how many epochs, each with a validation, the steps are divided.
        starts_from: settings that take an earlier stage's best checkpoint, with that stage's folder, for example
            ``{"train::pretrained_G": "g"}``.
    """

    name: str
    folder: str
    preset: str
    steps: int
    epochs: int = 5
    starts_from: Mapping[str, str] = field(default_factory=dict)


FROM_G = {"train::pretrained_G": "g"}
STAGES = (
    Stage("G", "g", "g_small", steps=900),
    Stage("G2", "g2", "g2_small", steps=300, epochs=2, starts_from=FROM_G),
    Stage(
        "G2 + D", "g2_gan", "g2_gan_small", steps=200, epochs=2,
        starts_from=FROM_G | {"train::pretrained_G2": "g2"},
    ),
)  # fmt: skip
