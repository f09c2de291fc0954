"""What the demo trains, and how the files are called that it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

COHORT, PREDICTIONS, EVALUATION, PREVIEW = "phantom", "predictions", "evaluation", "preview.png"
SUMMARY, TABLE, REPORT = "summary.json", "table.txt", "report.html"


@dataclass(frozen=True)
class Stage:
    """One stage of the demo: a training and its inference.

    Args:
        name: name in the table and in summary.json.
        folder: folder of the run, within the demo's.
        preset: preset it is trained with.
        steps: optimiser steps.
        epochs: number of epochs, each with a validation, that the steps are divided into.
        starts_from: settings that take the best checkpoint of an earlier stage, by the folder of that stage, for
            example ``{"train::pretrained_G": "g"}``.
    """

    name: str
    folder: str
    preset: str
    steps: int
    epochs: int = 5
    starts_from: Mapping[str, str] = field(default_factory=dict)


FROM_G = {"train::pretrained_G": "g"}
STAGES = (
    Stage("G", "g", "g_small", steps=1200),
    Stage("G2", "g2", "g2_small", steps=300, epochs=2, starts_from=FROM_G),
    Stage(
        "G2 + D", "g2_gan", "g2_gan_small", steps=200, epochs=2,
        starts_from=FROM_G | {"train::pretrained_G2": "g2"},
    ),
)  # fmt: skip
