"""What a comparison trains, and what is already trained; light, because it is checked before PyTorch is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import to_json, write_text
from ..common.names import require_file_name
from ..runs.names import CONFIG
from ..settings.places import RECIPES, find_config, presets

ALL = "all"
RECORD = "comparison.json"
# What makes trainings equally long and their last weights the ones that are scored.
DECIDED = (
    "data::datalist", "train::num_epochs", "train::steps_per_epoch", "train::val_every", "train::seed",
    "train::device", "train::output_dir", "train::resume", "train::best", "train::skip_warmup",
)  # fmt: skip


def chosen_recipes(names: Sequence[str]) -> dict[str, str]:
    """The recipes that are meant, by the name of each in the report; ``all`` stands for every shipped one.

    Raises:
        InputError: if one isn't there, or two would have the same name.
    """
    every = [name for name in presets() if name.startswith(f"{RECIPES}/")]
    chosen: dict[str, str] = {}
    for given in [one for name in names for one in (every if name == ALL else [name])]:
        preset = f"{RECIPES}/{given}" if f"{RECIPES}/{given}" in every else given
        path = Path(find_config(preset))
        if path.name == CONFIG:
            raise InputError(f"{given} is a run's folder; a comparison takes presets, and YAML files of settings")
        name = path.stem
        require_file_name(name, f"{given}: the name of the recipe,")
        if chosen.get(name, preset) != preset:
            raise InputError(f"{given} and {chosen[name]} are both called {name}; rename one of the files")
        chosen[name] = preset
    return chosen


def refuse_decided(given: Mapping[str, Any]) -> None:
    """Refuse settings that a comparison decides itself.

    Raises:
        InputError: naming them.
    """
    decided = [f"--{key}" for key in given if key.replace("#", "::") in DECIDED]
    if decided:
        raise InputError(f"{', '.join(decided)}: a comparison decides that itself; leave it out, or see --help")


@dataclass
class Record:
    """What a comparison was asked for and how far it is, kept in its folder so that the same command goes on.

    Args:
        path: the file.
        asked: what must be the same for the recipes to be compared: list, minutes, device, seed, further settings.
        recipes: by name: ``steps`` and ``seconds_per_step`` once they are measured, ``seconds`` once it is trained.
    """

    path: Path
    asked: Mapping[str, Any]
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def opened(cls, path: Path, asked: Mapping[str, Any]) -> Record:
        """The record of an earlier call of the same command, or a new one.

        Raises:
            InputError: if it is of another comparison, or can't be read.
        """
        if not path.exists():
            return cls(path, asked)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            before, recipes = content["asked"], {str(name): dict(values) for name, values in content["recipes"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise InputError(f"{path}: isn't the record of a comparison; choose another --output") from None
        differing = [f"{key} {before.get(key)}" for key, value in asked.items() if before.get(key) != value]
        if differing:
            raise InputError(f"{path.parent} holds a comparison with {', '.join(differing)}; choose another --output")
        return cls(path, asked, recipes)

    def note(self, name: str, **values: Any) -> None:
        """Add to what is known of a recipe, and write it down."""
        self.recipes.setdefault(name, {}).update(values)
        write_text(to_json({"asked": self.asked, "recipes": self.recipes}), self.path)
