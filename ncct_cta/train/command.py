"""``python -m ncct_cta.train``: train from a preset; the same run as with ``monai.bundle``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.command_line import command_parser
from ..common.errors import InputError, one_line_errors
from ..common.progress import quiet_console
from ..settings import Settings
from ..settings.places import bundle_config, find_config, presets
from ..settings.plain import settings_of
from ..settings.quoting import WORKFLOW_ARGUMENTS
from ..settings.yaml_file import read_yaml
from .overrides import check_at_once, flatten, parse_overrides

logger = logging.getLogger(__name__)

TRAIN_YAML = "train.yaml"
ARCHITECTURE = "model::architecture"

EPILOG = """\
every setting can be given as --section::key value, for example
  %(prog)s g_small --data::datalist phantom --train::num_epochs 5 --train::output_dir runs/g
settings of `train` need no section: --num_epochs 5 is --train::num_epochs 5, and G and G2 start from other runs by
  --pretrained_G runs/g/checkpoint_best.pt --pretrained_G2 runs/g2/checkpoint_best.pt
python -m ncct_cta.settings lists every setting with its default, range and meaning
"""


class ListPresets(argparse.Action):
    """Print every preset's name and what it says of itself, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        """Print and exit, as ``--version`` does: no preset has to be named beside it."""
        described = presets()
        width = max(map(len, described), default=0)
        parser.exit(0, "".join(f"{name:<{width}}  {comment}\n" for name, comment in described.items()))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("train", __doc__, epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("config", help="a preset (g, g_small, ...), a YAML file of settings, or a run's folder")
    parser.add_argument("--list", action=ListPresets, nargs=0, help="list the presets and exit")
    parser.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint, if there is one")
    parser.add_argument("--trust", action="store_true", help="run code that the file names too: a network, wiring")
    parser.add_argument("--debug", action="store_true", help="log shapes, ranges, timings and memory of every stage")
    return parser


def settings_of_preset(content: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The settings in a preset, without what names MONAI's workflow: another wiring or workflow would be code.

    Raises:
        InputError: if the preset names another wiring than the shipped one, or another argument of MONAI's.
    """
    settings = {key: value for key, value in content.items() if key not in ("workflow_name", "config_file")}
    shipped = bundle_config(TRAIN_YAML)
    wiring = content.get("config_file", shipped)
    if not (isinstance(wiring, str) and Path(find_config(wiring)).samefile(shipped)):
        raise InputError(
            f"{path}: config_file is {wiring!r}, expected the shipped {TRAIN_YAML}; wiring of your own is code: run it "
            "with python -m monai.bundle run training --args_file"
        )
    for key in WORKFLOW_ARGUMENTS & settings.keys():
        raise InputError(f"{path}: {key} is MONAI's own, which may run code; give it on the command line: --{key}")
    return settings


def checked_preset(config: str, given: Mapping[str, Any]) -> Settings:
    """The settings of a preset or a file with others on top, ``section::key``, all checked.

    Raises:
        InputError: if there is no such file, it isn't a preset, or a setting is wrong.
    """
    path = find_config(config)
    preset = settings_of_preset(read_yaml(path), path)
    return check_at_once(read_yaml(bundle_config(TRAIN_YAML)), {**preset, **given})


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
    # A run's config.yaml, or the bundle's own: wiring and settings in one file.
    is_wiring = isinstance(content.get("train"), Mapping) and "_target_" in content["train"]
    given = settings_of(content) if is_wiring else settings_of_preset(content, path)
    settings = check_at_once(read_yaml(bundle_config(TRAIN_YAML)), {**given, **overrides})
    from ..runs.record import own_wiring  # PyTorch, MONAI and Ignite: what is wrong by now is said by now
    from ..runs.trained_model import require_trusted
    from .workflow import SynthesisWorkflow

    if ARCHITECTURE not in flatten(overrides):  # a class that the user types is the user's own choice
        require_trusted(settings, path, trust=arguments.trust)
    if is_wiring and arguments.trust:
        workflow = SynthesisWorkflow(config_file=path, **overrides)
    else:
        own = own_wiring(content) if is_wiring else []
        if own:
            logger.warning(
                "%s: what it wires in its own way is code and isn't used (%s); --trust runs it",
                path,
                ", ".join(own[:5]) + (f" and {len(own) - 5} more" if len(own) > 5 else ""),
            )
        workflow = SynthesisWorkflow(**{**given, **overrides})
    quiet_console()
    workflow.initialize()
    workflow.run()
    workflow.finalize()
