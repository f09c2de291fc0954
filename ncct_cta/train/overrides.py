"""Settings given one by one: read from the command line's words, merged, and checked; light, as the parser is."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ..common.command_line import require_path
from ..common.errors import InputError
from ..runs.names import LAST, require_checkpoint, require_model
from ..runs.starter import is_packed, packed_model_of
from ..settings.plain import settings_of
from ..settings.quoting import WORKFLOW_ARGUMENTS
from ..settings.sections import DataConfig, TrainConfig
from ..settings.whole import Settings, section_types

# MONAI's own arguments of a workflow; every other argument must be a setting.
PLACES = ("bundle_root", "dataset_dir")


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """``--train::lr 1e-4 --train::seed=3`` -> settings; values are parsed as YAML, text is taken as typed.

    Raises:
        InputError: if an argument isn't ``--section::key``, or its value is missing or not valid YAML.
    """
    overrides: dict[str, Any] = {}
    queue = list(words)
    while queue:
        name, given, value = queue.pop(0).partition("=")
        if not name.startswith("--"):
            raise InputError(f"unexpected argument {name!r}; settings are given as --section::key value")
        if not given:
            if not queue:
                raise InputError(f"{name} needs a value")
            value = queue.pop(0)
        key = name[2:]
        if "::" not in key and key in TrainConfig.__dataclass_fields__:
            key = f"train::{key}"
        try:
            overrides[key] = value if is_text(key, value) else yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"{name} is {value!r}, which is no YAML: {error}") from error
    return overrides


def is_text(key: str, word: str) -> bool:
    """Whether ``word`` is to be taken literally: YAML would read a folder ``007`` as 7 and cut ``runs/a #2`` short."""
    section, _, name = key.partition("::")
    kind = section_types().get(section)
    written_as_yaml = word in ("null", "None") or word.startswith(("'", '"'))
    return kind is not None and typing.get_type_hints(kind).get(name) is str and not written_as_yaml


def flatten(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``{"train": {"lr": 1}, "train#seed": 2}`` -> ``{"train::lr": 1, "train::seed": 2}``."""
    flat: dict[str, Any] = {}
    for key, value in overrides.items():
        name = str(key).replace("#", "::")
        if isinstance(value, Mapping) and "::" not in name:
            flat |= {f"{name}::{inner}": v for inner, v in value.items()}
        elif value is None and "::" not in name:
            continue  # an empty section
        else:
            flat[name] = value
    return flat


def merged(bundle: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a bundle's YAML holds, by section, with those given as ``section::key`` put in."""
    sections: dict[str, Any] = settings_of(bundle)
    for key, value in flat.items():
        name, _, inner = key.partition("::")
        if name in PLACES:
            continue
        if not inner:  # not a mapping: `parse` reports it
            sections[name] = value
        elif isinstance(sections.setdefault(name, {}), dict):
            sections[name][inner] = value
    return sections


def check_at_once(bundle: Mapping[str, Any], overrides: Mapping[str, Any]) -> Settings:
    """Check all that can be checked of a training before PyTorch and MONAI are imported.

    Args:
        bundle: the content of the bundle's YAML, or of a run's.
        overrides: what ``flatten`` takes; MONAI's own arguments of a workflow are passed over.

    Returns:
        the settings.

    Raises:
        InputError: for wrong settings, and a case list or a checkpoint to start from that isn't there.
    """
    given = {key: value for key, value in overrides.items() if key not in WORKFLOW_ARGUMENTS}
    settings = Settings.parse(merged(bundle, flatten(given)))
    train, datalist = settings.train, settings.data.datalist
    if datalist == DataConfig().datalist and not os.path.exists(datalist):
        raise InputError(f"no case list is given, and {datalist} isn't there; give --data::datalist FILE_OR_FOLDER")
    require_path(datalist)
    if settings.loss.perceptual_weight > 0:
        _require_features(settings.loss.perceptual_features)
    goes_on = train.resume and os.path.isfile(os.path.join(train.output_dir, LAST))
    for path in (train.pretrained_G, train.pretrained_G2):
        if path and not goes_on:
            require_model(packed_model_of(path)) if is_packed(path) else require_checkpoint(path)
    return settings


def _require_features(path: str) -> None:
    """Refuse a perceptual loss without a network to compare the features of."""
    remedy = "make one with: ncct-cta features PRESET --data::datalist DATA --output FILE"
    if not path:
        raise InputError(f"loss.perceptual_weight is given, and loss.perceptual_features isn't; {remedy}")
    if not os.path.isfile(path):
        raise InputError(f"loss.perceptual_features is {path}, and there is no such file; {remedy}")
