"""All sections of the settings together.

``Settings.parse`` takes plain mappings (as YAML gives them) and reports every wrong key and value at once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..common.errors import InputError
from .combinations import check_combinations
from .declaration import Section, in_one_line, nearest, shown
from .sections import (
    DataConfig,
    DiscriminatorConfig,
    EmaConfig,
    LossConfig,
    ModelConfig,
    RefineConfig,
    RegistrationConfig,
    TrainConfig,
)


@dataclass(frozen=True)
class Settings:
    """Every section."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    @classmethod
    def parse(cls, sections: Mapping[str, Any]) -> Settings:
        """Build every section from plain mappings.

        Raises:
            InputError: one line with every problem: unknown sections and keys, wrong types, ranges and combinations.
        """
        kinds = section_types()
        built: dict[str, Any] = {}
        problems = [_unknown(key) for key in sections if key not in kinds]
        for name, kind in kinds.items():
            values = sections.get(name) or {}
            if not isinstance(values, Mapping):
                problems.append(f"section {name} is {shown(values)}, expected settings below it (key: value)")
                continue
            built[name], found = kind.check(values)
            problems += found
        settings = cls(**built)
        problems = problems or check_combinations(settings)
        if problems:
            raise InputError(in_one_line(problems))
        return settings

    def as_plain(self) -> dict[str, Any]:
        """Every section as plain data that YAML and ``Settings.parse`` take."""
        return {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in section.items()}
            for name, section in dataclasses.asdict(self).items()
        }


def _unknown(key: object) -> str:
    """What to say of a name that is no section's: often it is a setting's, without or with its section."""
    homes = [f"{name}::{key}" for name, kind in section_types().items() if key in kind.names()]
    if homes:
        return f"{key} stands without its section; write {' or '.join(homes)}"
    further = [f"{name}::{field}" for name, kind in section_types().items() for field in kind.names()]
    return f"unknown section {str(key)[:60]}{nearest(key, section_types(), further)}"


def section_types() -> dict[str, type[Section]]:
    """The section classes by their name in YAML."""
    return typing.get_type_hints(Settings)
