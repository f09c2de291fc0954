"""The workflow that ``monai.bundle`` runs from a preset: merges settings key by key and checks them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow

from ..common.errors import one_line_errors
from ..settings import Settings
from ..settings.places import bundle_config, find_config
from ..settings.quoting import WORKFLOW_ARGUMENTS, quoted
from .overrides import PLACES, flatten, merged
from .training_run import require_fitting


class SynthesisWorkflow(ConfigWorkflow):
    """MONAI's workflow with settings merged key by key and checked before anything is built.

    A preset names it (``workflow_name: ncct_cta.train.workflow.SynthesisWorkflow``), because MONAI's own workflow lets
    a section of the preset replace the bundle's whole section, takes unknown keys silently, and evaluates values.

    Args:
        config_file: the bundle's YAML, or several; falls back to the shipped file of that name. Empty:
            the shipped ``train.yaml``, whatever lies where the command is typed.
        overrides: sections (``{"train": {"lr": 1.0e-4}}``), single settings (``train::lr``), and what MONAI's
            ``ConfigWorkflow`` takes.
    """

    @one_line_errors()
    def __init__(self, config_file: str | Sequence[str] = "", **overrides: Any) -> None:
        given = config_file or bundle_config("train.yaml")
        files = [find_config(file) for file in ([given] if isinstance(given, str) else given)]
        own = {key: overrides.pop(key) for key in list(overrides) if key in WORKFLOW_ARGUMENTS}
        own.setdefault("run_id", "training")
        flat = flatten(overrides)
        checked = check_overrides(ConfigParser.load_config_files(files), flat)
        super().__init__(config_file=files if len(files) > 1 else files[0], **own)
        places = {key: value for key, value in flat.items() if key in PLACES}
        self.parser.update({key: quoted(value) for key, value in (places | checked).items()})


def check_overrides(bundle: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    """Check settings together with those in the bundle's YAML.

    Args:
        bundle: the YAML's content.
        flat: settings as ``section::key``.

    Returns:
        all the settings given, as ``section::key``, with the types they are meant to have: YAML reads ``2e-4`` as a
        string, and PyTorch's optimisers would get it as that.

    Raises:
        InputError: one line with every problem.
    """
    sections = merged(bundle, flat)
    settings = Settings.parse(sections)
    require_fitting(settings)
    plain = settings.as_plain()
    return {f"{name}::{key}": plain[name][key] for name, values in sections.items() for key in values or ()}
