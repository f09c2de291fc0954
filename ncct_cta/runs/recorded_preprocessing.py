"""The ``preprocessing`` that a run's ``config.yaml`` records: this version's, or one of the run's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ConfigParser
from monai.transforms import Compose

from ..common.errors import InputError
from ..settings import DataConfig
from ..settings.places import bundle_config
from ..settings.yaml_file import read_yaml
from ..transforms import default_preprocessing, preprocessing_digest

PREPROCESSING = "preprocessing"


def has_own_preprocessing(config: Mapping[str, Any]) -> bool:
    """Whether a ``config.yaml`` records another list than the shipped ``train.yaml``; one of an older version has none.

    The two are compared as the text they are: nothing in ``config`` is built or evaluated.
    """
    shipped = read_yaml(bundle_config("train.yaml"))[PREPROCESSING]
    return bool(config.get(PREPROCESSING, shipped) != shipped)


def own_preprocessing(wiring: Mapping[str, Any]) -> dict[str, Any]:
    """The run's own list under its name, or nothing: what a checkpoint keeps beside the settings."""
    return {PREPROCESSING: wiring[PREPROCESSING]} if has_own_preprocessing(wiring) else {}


def recorded_preprocessing(
    config: Mapping[str, Any], data: DataConfig, source: str | Path | None, *, trust: bool = False
) -> Compose:
    """The preprocessing that a network was trained with.

    Args:
        config: the content of the run's ``config.yaml``, or the settings in a checkpoint.
        data: the run's settings.
        source: the file, for the error.
        trust: build a list of the run's own, which may name any class and so run any code.

    Raises:
        InputError: if there is such a list and it isn't trusted, or it can't be built.
    """
    if not has_own_preprocessing(config):
        return default_preprocessing(data)
    if not trust:
        raise InputError(
            f"{source}: the run has a preprocessing of its own; building it runs its code: add --trust if you trust "
            "where this comes from"
        )
    return build_preprocessing(config, data, source)


def build_preprocessing(config: Mapping[str, Any], data: DataConfig, source: str | Path | None) -> Compose:
    """Build the ``preprocessing`` of a YAML's content. It may run any code: give only what is trusted.

    Args:
        config: the content; other parts of it are built where the list refers to them.
        data: the settings that ``@data`` in it means.
        source: where the content comes from, for the error.

    Raises:
        InputError: if it can't be built.
    """
    # The settings as an object: their texts are no part of MONAI's language.
    parser = ConfigParser({**config, DataConfig.section_name(): data})
    try:
        return Compose(parser.get_parsed_content(PREPROCESSING))
    except Exception as error:  # the list's own code may raise anything
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = f"{type(cause).__name__}: {' '.join(str(cause).split())}"[:150]
        raise InputError(f"{source}: its preprocessing can't be built ({reason}); correct the list") from error


def checked_wiring(wiring: str | Sequence[str], data: DataConfig, used: Compose) -> dict[str, Any]:
    """The content of a training's wiring, whose preprocessing must be the one in use: inference will apply it.

    Args:
        wiring: the YAML file, or several that are merged.
        data: the settings.
        used: what the training data go through.

    Raises:
        InputError: if a file can't be read, or its preprocessing is another one.
    """
    names = wiring if isinstance(wiring, str) else ", ".join(wiring)
    try:
        content = ConfigParser.load_config_files(wiring)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"train::wiring {names}: can't be read ({error}); give the YAML of this training") from error
    own = has_own_preprocessing(content)
    recorded = build_preprocessing(content, data, names) if own else default_preprocessing(data)
    if preprocessing_digest(recorded) != preprocessing_digest(used):
        raise InputError(
            f"the preprocessing isn't the one in {names}, which is recorded for inference; set train::wiring to the "
            "YAML, or the list of YAML files, that this training is started from"
        )
    return content
