"""A model's card: what it is, what it was trained on, how well it does, and what it can't do.

After Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from ..common.limits import INTENDED_USE, LIMITS
from ..engines.output_record import NOTICE, SOFTWARE
from ..evaluate.results import HU_REMAP, IDENTITY
from ..settings import Settings

NOT_SAID = "Not described by who packed the model."
NO_LICENCE = "None given: ask who packed the model before you use it."
MARKUP = re.compile(r"[\\`*\[\]<>|#!]")  # what Markdown doesn't take literally, wherever it stands
# Of the many scores, those that the words name: the table of all is in card.json.
SHOWN_SCORES = (
    "vessel_mae_hu",
    "nonvessel_mae_hu",
    "body_mae_hu",
    "enhancement_recovery",
    "vessel_dice",
    "vessel_cldice",
    "false_vessel_ml",
    "missed_vessel_ml",
)


def card_of(
    settings: Settings, parameters: int, *, half: bool, scores: Sequence[Mapping[str, Any]], training: str, licence: str
) -> dict[str, Any]:
    """The card as plain data.

    Args:
        settings: of the training.
        parameters: how many the network has.
        half: whether the weights are stored in half precision.
        scores: as ``scores_of`` gives them, of one evaluation each.
        training: the training data in the user's words.
        licence: in the user's words.
    """
    return {
        "notice": NOTICE,
        "intended_use": INTENDED_USE,
        "limits": list(LIMITS),
        "licence": licence.strip() or NO_LICENCE,
        "training_data": training.strip() or NOT_SAID,
        "scores": list(scores),
        "network": {
            "architecture": settings.model.architecture,
            "spatial_dims": settings.model.spatial_dims,
            "refined": settings.refine.enabled,
            "parameters": parameters,
            "half_precision": half,
            "window_hu": list(settings.data.window),
            "spacing_mm": None if settings.data.spacing is None else list(settings.data.spacing),
        },
        "versions": {name: version(name) for name in SOFTWARE},
    }


def words_of(card: Mapping[str, Any]) -> str:
    """The card for people, in Markdown; the user's words stand in it as quotations."""
    network = card["network"]
    spacing = network["spacing_mm"]
    grid = "each scan's own voxels" if spacing is None else " x ".join(f"{edge:g}" for edge in spacing) + " mm"
    low, high = network["window_hu"]
    parts = [
        "# A model that synthesises CT angiography",
        f"**{card['notice']}**",
        f"## What it is for\n\n{card['intended_use']}",
        "## What it can't do\n\n" + "\n".join(f"- {limit}" for limit in card["limits"]),
        f"## Training data\n\n{_quoted(card['training_data'])}",
        "## Scores\n\n" + "\n".join(_scores(card["scores"])),
        f"## Licence\n\n{_quoted(card['licence'])}",
        f"## Network\n\n{network['architecture']} in {network['spatial_dims']}-D"
        f"{' with a refinement net' if network['refined'] else ''}, {network['parameters']:,} parameters"
        f"{', stored in half precision' if network['half_precision'] else ''}; it sees "
        f"{low:g} to {high:g} HU, in {grid}. `settings.json` holds the rest.",
        "## How to use it\n\n`ncct-cta infer --model THIS_FILE --input SCANS --output FOLDER` checks the file first. "
        "Compare its SHA-256 with the one that its maker published: `SHA256SUMS` tells damage, but not a file that "
        "somebody made anew.",
    ]
    return "\n\n".join(parts) + "\n"


def _quoted(text: str) -> str:
    return "\n".join(f"> {_literal(line)}" for line in text.splitlines())


def _literal(text: str) -> str:
    """A text in one line that Markdown shows as it is: no heading, link, picture, cell or HTML."""
    return MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _scores(scores: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not scores:
        yield "None given: nothing is known of its errors."
        return
    yield (
        "Means with their bootstrap 95 % interval; beside them those of the scan as it is (identity) and "
        "of each HU's mean in the training pairs (HU remap)."
    )
    for found in scores:
        yield from _table(found)
    yield "\n`card.json` holds all of them."


def _table(scores: Mapping[str, Any]) -> Iterator[str]:
    """The scores of one evaluation."""
    count = scores["cases"]
    cases = f"{count} case{'s' * (count != 1)}"
    yield f"\n{_quoted(scores['title'])} ({cases})" if scores["title"] else f"\n{cases}"
    yield "\n| score | mean | interval | identity | HU remap |\n|---|---|---|---|---|"
    for name in SHOWN_SCORES:
        found = scores["columns"].get(name)
        if found is not None:
            title, unit = _literal(found["title"]), f" [{_literal(found['unit'])}]" if found["unit"] else ""
            interval = "n/a" if found["low"] is None else f"{_figure(found['low'])} to {_figure(found['high'])}"
            baselines = " | ".join(_figure(found[baseline]) for baseline in (IDENTITY, HU_REMAP))
            yield f"| {title}{unit} | {_figure(found['mean'])} | {interval} | {baselines} |"


def _figure(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "n/a"
