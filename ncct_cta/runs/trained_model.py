"""A trained model, rebuilt from a run's folder or from a checkpoint alone, by the same wiring that trained it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from ..common.errors import InputError
from ..inferers.volume import VolumeInferer
from ..settings.places import bundle_config
from ..settings.sections import Settings, settings_of
from .checkpoints import load_checkpoint, load_weights, network_weights
from .files import BEST, CONFIG, LAST, SETTINGS

HASH_BLOCK_BYTES = 2**20


class TrainedModel:
    """The cascade with its trained weights and the inferer that fits it.

    Give ``run``, ``checkpoint`` or both; neither gives the default network with random weights, for checks of shapes.

    Args:
        run: a run's folder: settings from its ``config.yaml``, the averaged weights of ``checkpoint_best.pt``.
        checkpoint: a checkpoint; without ``run`` its own settings are taken, or the ``config.yaml`` beside it.
        device: ``auto``, or PyTorch's name of a device.
        amp: mixed precision: off, bf16 or fp16; empty: as trained.
        batch_size: slices or patches a forward pass; 0: as trained.

    Raises:
        InputError: if files are missing or damaged, or the weights don't fit the settings.
    """

    def __init__(
        self, run: str = "", checkpoint: str = "", *, device: str = "auto", amp: str = "", batch_size: int = 0
    ) -> None:
        self.untrained = not run and not checkpoint
        self.checkpoint = file = _checkpoint_of(run, checkpoint)
        content = load_checkpoint(file) if file else {}
        parser = self._wiring(run, file, content)
        choices = {"device": device, "amp": amp, "batch_size": batch_size}
        parser.update({f"train::{name}": value for name, value in choices.items() if value})
        self.settings = Settings.parse(settings_of(parser.get()))
        self.device: torch.device = parser.get_parsed_content("device")
        self.network: nn.Module = parser.get_parsed_content("network_def")
        self.cascade: nn.Module = parser.get_parsed_content("cascade")
        self.inferer: VolumeInferer = parser.get_parsed_content("validate::inferer")
        if file:
            load_weights(self.cascade, network_weights(content, file), file)
        self.cascade.to(self.device).eval()

    @property
    def identity(self) -> str:
        """The checkpoint's file name and the SHA-256 of its bytes, which ``sha256sum`` prints too."""
        if self.checkpoint is None:
            return "untrained"
        digest = hashlib.sha256()
        with open(self.checkpoint, "rb") as file:
            while block := file.read(HASH_BLOCK_BYTES):
                digest.update(block)
        return f"{self.checkpoint.name} sha256:{digest.hexdigest()}"

    def _wiring(self, run: str, file: Path | None, content: Mapping[str, Any]) -> ConfigParser:
        """This version's wiring with the run's settings: a run that an older version trained still works."""
        parser = ConfigParser()
        parser.read_config(bundle_config("train.yaml"))
        sections = content.get(SETTINGS, {})
        folder = Path(run) if run else file.parent if file and not sections else None
        if folder is not None:
            sections = sections_of_run(folder)
        for name, values in sections.items():
            parser.update({f"{name}::{key}": value for key, value in values.items()})
        return parser


def _checkpoint_of(run: str, checkpoint: str) -> Path | None:
    if checkpoint:
        return Path(checkpoint)
    if not run:
        return None
    if not Path(run).is_dir():
        raise InputError(f"{run}: there is no such run folder")
    for name in (BEST, LAST):
        if (Path(run) / name).is_file():
            return Path(run) / name
    raise InputError(f"{run}: there is neither {BEST} nor {LAST} in it; train first, or give --checkpoint")


def sections_of_run(folder: Path) -> dict[str, dict[str, Any]]:
    """The settings in a run's ``config.yaml``, by section.

    Raises:
        InputError: if it isn't there.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder}: there is no {CONFIG} in it; give the folder of a run (--run)")
    return settings_of(ConfigParser.load_config_file(str(folder / CONFIG)))
