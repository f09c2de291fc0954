"""``python -m ncct_cta.train``: train from a preset; the same run that ``monai.bundle`` starts from it."""

from __future__ import annotations

import argparse
import typing
import warnings
from collections.abc import Sequence
from typing import Any

import yaml
from monai.bundle import ConfigParser

from ..common.errors import InputError, one_line_errors
from ..settings.places import find_config
from ..settings.sections import TrainConfig, section_types
from .workflow import SynthesisWorkflow

EPILOG = """\
every setting can be given as --section::key value, for example
  python -m ncct_cta.train g_small --data::datalist phantom --train::num_epochs 5 --train::output_dir runs/g
settings of `train` need no section: --num_epochs 5 is --train::num_epochs 5, and G and G2 start from other runs by
  --pretrained_G runs/g/checkpoint_best.pt --pretrained_G2 runs/g2/checkpoint_best.pt
the settings, their defaults and ranges are in the README and in ncct_cta/settings/sections.py
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ncct_cta.train",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("config", help="a preset (g, g_small, ...), a YAML file of settings, or a run's folder")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint, if there is one")
    parser.add_argument("--debug", action="store_true", help="log shapes, ranges, timings and memory of every stage")
    return parser


def parse_overrides(words: Sequence[str]) -> dict[str, Any]:
    """``--train::lr 1e-4 --train::seed=3`` -> settings; values are read as YAML, texts taken as typed.

    Raises:
        InputError: if a word is no ``--section::key``, or has no value or none that YAML can read.
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
    """Say whether ``word`` is meant as it is: YAML would read a folder ``007`` as 7 and cut ``runs/a #2`` short."""
    section, _, name = key.partition("::")
    kind = section_types().get(section)
    written_as_yaml = word == "null" or word.startswith(("'", '"'))
    return kind is not None and typing.get_type_hints(kind).get(name) is str and not written_as_yaml


def read_settings(path: str) -> dict[str, Any]:
    """Read a file of settings.

    Raises:
        InputError: if it is no YAML, holds no sections, or gives one twice.
    """
    try:
        with warnings.catch_warnings():
            # MONAI warns, and takes the later of the two alone.
            warnings.filterwarnings("error", "Duplicate key")
            content = ConfigParser.load_config_file(path)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error
    except UserWarning as error:
        raise InputError(f"{path}: {error}, expected each once; put its settings together") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected sections of settings (section: then key: value below it)")
    return content


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Train."""
    arguments, rest = build_parser().parse_known_args(argv)
    path = find_config(arguments.config)
    overrides = parse_overrides(rest)
    for name in ("resume", "debug"):
        if getattr(arguments, name):
            overrides[f"train::{name}"] = True
    content = read_settings(path)
    if "training" in content:  # a run's config.yaml, or the bundle's own: wiring and settings in one file
        workflow = SynthesisWorkflow(config_file=path, **overrides)
    else:
        content.pop("workflow_name", None)
        workflow = SynthesisWorkflow(**{**content, **overrides})
    workflow.initialize()
    workflow.run()
    workflow.finalize()
