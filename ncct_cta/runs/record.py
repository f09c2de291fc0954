"""A run's ``config.yaml``: it holds all settings and starts the run again; read as data, nothing in it is evaluated."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import InputError
from ..common.files import write_text
from ..settings import Settings, section_types, settings_of
from ..settings.places import bundle_config
from ..settings.quoting import quoted
from ..settings.yaml_file import read_yaml
from .names import CONFIG, LAST, METRICS
from .recorded_preprocessing import has_own_preprocessing

LAUNCH = "# python -m monai.bundle run training --config_file <this file>\n"
BESIDE = ("metadata.json", "logging.conf")
# Settings that are paths: made absolute in config.yaml, which may be used from any folder.
PATHS = (
    ("data", "datalist"),
    ("data", "cache_dir"),
    ("train", "output_dir"),
    ("train", "pretrained_G"),
    ("train", "pretrained_G2"),
)


def write_record(folder: Path, settings: Settings, wiring: Mapping[str, Any]) -> None:
    """Write ``config.yaml``, which alone starts this run again, and what MONAI's tools look for beside it.

    Args:
        folder: the run's folder.
        settings: all settings.
        wiring: the content of the YAML whose sections the settings fill. Where its preprocessing is the run's own, a
            training that is started from ``config.yaml`` records that file again, and not the shipped one.
    """
    recorded = copy.deepcopy(dict(wiring))
    plain = settings.as_plain()
    for section, key in PATHS:
        if plain[section][key]:
            plain[section][key] = os.path.abspath(plain[section][key])
    plain["train"]["resume"] = False
    for name, values in plain.items():
        recorded[name] |= {key: quoted(value) for key, value in values.items()}
    if has_own_preprocessing(wiring):
        recorded["train"]["wiring"] = quoted(os.path.abspath(folder / CONFIG))
    write_text(LAUNCH + yaml.safe_dump(recorded, sort_keys=False, width=120, allow_unicode=True), folder / CONFIG)
    for name in BESIDE:
        write_text(Path(bundle_config(name)).read_text(encoding="utf-8"), folder / name)


def require_no_others_files(folder: Path) -> None:
    """Refuse a folder whose files a record would replace, unless a training wrote them.

    Raises:
        InputError: naming them.
    """
    there = [name for name in (CONFIG, *BESIDE, METRICS) if (folder / name).is_file()]
    if not there or (folder / LAST).is_file() or _is_record(folder / CONFIG):
        return
    raise InputError(f"{folder} holds {', '.join(there)}, which no training wrote; set another train.output_dir")


def _is_record(config: Path) -> bool:
    """Whether a training wrote this file, which is there before its first checkpoint is."""
    try:
        with open(config, "rb") as file:
            return file.read(len(LAUNCH)) == LAUNCH.encode()
    except OSError:
        return False


def own_wiring(content: Mapping[str, Any]) -> list[str]:
    """Name the entries of a ``config.yaml`` that differ from the shipped wiring, settings aside.

    They are code: a user's own, a stranger's, or an older version's.
    """
    shipped = read_yaml(bundle_config("train.yaml"))
    names = section_types()

    def wiring(bundle: Mapping[str, Any], name: str) -> Any:
        entry = bundle.get(name)
        if name not in names or not isinstance(entry, Mapping):
            return entry
        return {key: value for key, value in entry.items() if key not in names[name].names()}

    return sorted(name for name in {*shipped, *content} if wiring(shipped, name) != wiring(content, name))


def read_record(folder: Path) -> dict[str, dict[str, Any]]:
    """The settings in a run's ``config.yaml``, by section; its wiring is neither built nor evaluated.

    Raises:
        InputError: if it isn't there, or can't be read.
    """
    return settings_of(read_config(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a run's ``config.yaml``, wiring and all, as plain data.

    Raises:
        InputError: if it isn't there, or can't be read.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder}: there is no {CONFIG} in it; give the folder of a run (--run)")
    return read_yaml(folder / CONFIG)
