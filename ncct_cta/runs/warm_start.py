"""Weights that a training starts from: those of other runs, or this run's own when it goes on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from ..common.errors import InputError
from ..common.keys import NETWORK
from ..networks import SynthesisCascade
from ..settings import ModelConfig, Settings, TrainConfig
from ..settings.declaration import shown
from .checkpoints import check_settings, load_checkpoint, load_weights, part_weights
from .model_archive import read_named
from .names import SETTINGS
from .recorded_preprocessing import PREPROCESSING
from .starter import is_packed

logger = logging.getLogger(__name__)

# Settings that weights depend on: with other values they might load anyway and silently give wrong images.
WINDOW = ("data.window",)
G_SETTINGS = (*WINDOW, *(f"model.{field.name}" for field in dataclasses.fields(ModelConfig)))
IN_SLICES = "model.in_slices"
OF_A_CALL = ("train.resume", "train.debug")  # they say nothing of the run
REFINE_SETTINGS = ("refine.enabled", "refine.hidden_dim", "refine.num_blocks", "refine.fusion", "refine.base")


def settings_of_weights(settings: Settings) -> tuple[str, ...]:
    """``section.key`` of the settings that a cascade's weights depend on."""
    return (*G_SETTINGS, *(REFINE_SETTINGS if settings.refine.enabled else ("refine.enabled",)))


def own_checkpoint(path: Path, settings: Settings, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A run's own checkpoint, to go on from; ``recorded`` is what this training records in its own.

    Raises:
        InputError: if it can't be read, or the settings that its weights were trained for, or the preprocessing, have
            changed.
    """
    checkpoint = _read(path)
    _check(checkpoint, settings, settings_of_weights(settings), path)
    if not _same_preprocessing(checkpoint, recorded):
        raise InputError(
            f"{path}: its scans were preprocessed by another list; go on with the YAML that the run was started from "
            "(its own config.yaml with --trust)"
        )
    return checkpoint


def changed_settings(before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> str:
    """What a run goes on with in another way, in a line: ``train.lr 0.001 -> 0.0001``; empty if nothing.

    Args:
        before: a checkpoint's settings by section, as plain data; what an older version lacked isn't compared.
        now: the settings by section.
    """
    return ", ".join(
        f"{section}.{name} {shown(before[section][name])} -> {shown(value)}"
        for section, values in now.items()
        for name, value in values.items()
        if f"{section}.{name}" not in OF_A_CALL and name in before.get(section, {}) and before[section][name] != value
    )


def start_from_other_runs(
    cascade: SynthesisCascade, settings: Settings, recorded: Mapping[str, Any] | None = None
) -> None:
    """Load the weights of ``train.pretrained_G`` and ``train.pretrained_G2``, where they are given.

    A G that saw fewer slices is taken too: the others start without effect.

    Args:
        cascade: what the weights are loaded into.
        settings: all settings.
        recorded: what this training records in its checkpoints, its preprocessing beside the settings.

    Raises:
        InputError: if a file can't be read or holds weights of another network, or there is no G2.
    """
    train, refine = settings.train, settings.refine
    _warn_of_unused(settings)
    if train.pretrained_G2 and not refine.enabled:
        raise InputError("train.pretrained_G2 is given, but there is no G2; set refine.enabled to true")
    if refine.enabled and refine.freeze_G and not train.pretrained_G:
        logger.warning("G is frozen and untrained, G2 gets x * |x|: set train.pretrained_G, or refine.freeze_G false")
    starts = (
        ("generator", train.pretrained_G, G_SETTINGS),
        ("refine_net", train.pretrained_G2, WINDOW),  # it may refine another G; its layers' shapes tell the rest
    )
    for part, path, names in starts:
        if path:
            checkpoint = _read(path)
            sees, saw = settings.model.in_slices, _in_slices(checkpoint)
            fewer = part == "generator" and saw is not None and saw < sees
            _check(checkpoint, settings, [name for name in names if name != IN_SLICES or not fewer], path)
            if not _same_preprocessing(checkpoint, recorded):
                logger.warning("%s: trained on scans that were preprocessed in another way", path)
            weights, network = part_weights(checkpoint, part, path), cascade.get_submodule(part)
            if fewer:
                weights = _seeing_more(weights, network.state_dict(), sees)
                logger.info("%s: saw %d of the %d slices; the others start without effect", path, saw, sees)
            load_weights(network, weights, path)
            logger.info("%s starts from %s", part, path)


def _in_slices(checkpoint: Mapping[str, Any]) -> int | None:
    """How many slices its G sees, if it records that."""
    return checkpoint.get(SETTINGS, {}).get("model", {}).get("in_slices")


def _seeing_more(
    weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], slices: int
) -> dict[str, torch.Tensor]:
    """The weights of a G that saw fewer slices, for one that sees ``slices``: it predicts what that one did.

    The weights become those of the middle slices, the others' are zero, and learn from there: the "central frame
    initialisation" of Arnab et al., ViViT, ICCV 2021.
    """
    widened = dict(weights)
    for name, given in weights.items():
        if name in own and given.ndim > 1 and own[name].shape == (given.shape[0], slices, *given.shape[2:]):
            more = (slices - given.shape[1]) // 2
            widened[name] = functional.pad(given, [*[0, 0] * (given.ndim - 2), more, more])
    return widened


def _read(path: str | Path) -> dict[str, Any]:
    """A checkpoint, or a packed model as one."""
    return _unpacked(str(path)) if is_packed(str(path)) else load_checkpoint(path)


def _check(checkpoint: Mapping[str, Any], settings: Settings, names: Sequence[str], path: str | Path) -> None:
    """If it records how it was trained, the settings ``names`` must be the same."""
    check_settings(checkpoint.get(SETTINGS, {}), settings.as_plain(), names, path)


def _unpacked(path: str) -> dict[str, Any]:
    """A packed model as the checkpoint that it was made from."""
    _, packed = read_named(path)
    return {NETWORK: dict(packed.weights), SETTINGS: packed.settings.as_plain()}


def _same_preprocessing(checkpoint: Mapping[str, Any], recorded: Mapping[str, Any] | None) -> bool:
    """Whether a checkpoint was trained on scans that went through the same list, as far as it says so."""
    trained = checkpoint.get(SETTINGS, {})
    return not trained or recorded is None or trained.get(PREPROCESSING) == recorded.get(PREPROCESSING)


def _warn_of_unused(settings: Settings) -> None:
    """Name what was set and does nothing in this training."""
    train, refine, discriminator, default = settings.train, settings.refine, settings.discriminator, TrainConfig()
    of_g = (*(("lr",) if refine.freeze_G else ()), "lr_scheduler", "warmup_steps")
    for name in of_g:
        if refine.enabled and getattr(train, name) != getattr(default, name):
            logger.warning("train.%s does nothing while G2 trains; set refine.%s", name, name)
    for name, net in (("discriminator", discriminator), ("registration", settings.registration)):
        if net.enabled and net.start_epoch > train.num_epochs:
            logger.warning("%s.start_epoch is %d of %d epochs: it never joins", name, net.start_epoch, train.num_epochs)
    waits = discriminator.start_epoch == 0 and not train.skip_warmup
    if discriminator.enabled and waits and discriminator.warmup_epochs >= train.num_epochs:
        logger.warning(
            "D never joins: discriminator.warmup_epochs is %d of %d epochs; lower it, or skip_warmup",
            discriminator.warmup_epochs,
            train.num_epochs,
        )
