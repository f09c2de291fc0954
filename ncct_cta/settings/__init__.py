"""Settings: where each is declared, how they are checked, and where presets lie."""

from . import places
from .declaration import Section
from .plain import settings_of
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
from .whole import Settings, section_types

__all__ = [
    "DataConfig",
    "DiscriminatorConfig",
    "EmaConfig",
    "LossConfig",
    "ModelConfig",
    "RefineConfig",
    "RegistrationConfig",
    "Section",
    "Settings",
    "TrainConfig",
    "places",
    "section_types",
    "settings_of",
]
