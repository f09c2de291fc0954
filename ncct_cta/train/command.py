"""``python -m ncct_cta.train``: train from a preset; the same run that ``monai.bundle`` starts from it."""

from __future__ import annotations

import argparse
import logging
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import InputError, one_line_errors
from ..runs.record import own_wiring
from ..settings.places import bundle_config, find_config
from ..settings.sections import TrainConfig, section_types, settings_of
from ..settings.yaml_file import read_yaml
from .workflow import WORKFLOW_ARGUMENTS, SynthesisWorkflow

logger = logging.getLogger(__name__)

TRAIN_YAML = "train.yaml"

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
    parser.add_argument("--trust", action="store_true", help="also run what a run's config.yaml wires, which is code")
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
    written_as_yaml = word in ("null", "None") or word.startswith(("'", '"'))
    return kind is not None and typing.get_type_hints(kind).get(name) is str and not written_as_yaml


def settings_of_preset(content: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The settings in a preset, without what names MONAI's workflow: another wiring or workflow would be code.

    Raises:
        InputError: if the preset names another wiring than the shipped one, or another argument of MONAI's.
    """
    settings = {key: value for key, value in content.items() if key not in ("workflow_name", "config_file")}
    wiring = content.get("config_file", TRAIN_YAML)
    if not (isinstance(wiring, str) and Path(find_config(wiring)).samefile(bundle_config(TRAIN_YAML))):
        raise InputError(
            f"{path}: config_file is {wiring!r}, expected the shipped {TRAIN_YAML}; wiring of your own is code: run it "
            "with python -m monai.bundle run training --args_file"
        )
    for key in WORKFLOW_ARGUMENTS & settings.keys():
        raise InputError(f"{path}: {key} is MONAI's own, which may run code; give it on the command line: --{key}")
    return settings


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Train."""
    arguments, rest = build_parser().parse_known_args(argv)
    path = find_config(arguments.config)
    overrides = parse_overrides(rest)
    for name in ("resume", "debug"):
        if getattr(arguments, name):
            overrides[f"train::{name}"] = True
    content = read_yaml(path)
    if "training" not in content:
        workflow = SynthesisWorkflow(**{**settings_of_preset(content, path), **overrides})
    elif arguments.trust:  # a run's config.yaml, or the bundle's own: wiring and settings in one file
        workflow = SynthesisWorkflow(config_file=path, **overrides)
    else:
        for name in own_wiring(content):
            logger.warning("%s: its own %r is code and isn't used; --trust runs it as it is", path, name)
        workflow = SynthesisWorkflow(**{**settings_of(content), **overrides})
    workflow.initialize()
    workflow.run()
    workflow.finalize()
