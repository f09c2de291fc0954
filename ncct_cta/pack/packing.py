"""From a run's folder to an archive: what goes in, and what must not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..common.errors import InputError
from ..common.files import sha256_of
from ..networks.architectures import is_own_class
from ..runs.model_archive import PackedModel, read_archive, write_archive
from ..runs.record import read_config
from ..runs.recorded_preprocessing import has_own_preprocessing
from ..runs.trained_model import TrainedModel
from ..settings import Settings, settings_of
from ..settings.declaration import default_of
from .card import card_of, words_of
from .scores import scores_of


def pack(
    run: str,
    output: str,
    *,
    checkpoint: str = "",
    scores: Sequence[tuple[str, str]] = (),
    half: bool = False,
    method: str = "",
    training: str = "",
    licence: str = "",
) -> str:
    """Pack a run into an archive, which is read back before it counts as made.

    Args:
        run: the run's folder.
        output: the archive.
        checkpoint: of the run; empty: its best, or its last.
        scores: a title in the user's words, or an empty one, and an evaluation's folder each; empty: the card says
            that there are none.
        half: store the weights in half precision, which halves the file; the images are then not the run's, bit for
            bit.
        method: what the evaluations call the run; see ``scores_of``.
        training: the training data in the user's words.
        licence: in the user's words.

    Returns:
        the archive's SHA-256.

    Raises:
        InputError: if a file can't be read or written, or if the model can't do without code from elsewhere.
    """
    _require_no_code(Path(run))
    model = TrainedModel(run, checkpoint, device="cpu")
    settings = without_texts(Settings.parse(settings_of(read_config(Path(run)))))
    name = method or Path(run).resolve().name
    found = [scores_of(Path(folder), name, named=bool(method), title=title) for title, folder in scores]
    parameters = sum(weights.numel() for weights in model.cascade.parameters())
    card = card_of(settings, parameters, half=half, scores=found, training=training, licence=licence)
    weights = model.cascade.state_dict()
    if half:
        weights = {name: _halved(value, f"{run}: {name}") for name, value in weights.items()}
    packed = PackedModel(settings, weights, card, words_of(card))
    write_archive(Path(output), packed)
    again = read_archive(output).weights
    if any(not torch.equal(again[name], value) for name, value in packed.weights.items()):
        raise InputError(
            f"{output}: reads back other than it was written; is the disk damaged? Choose another --output"
        )
    return sha256_of(Path(output))


def _halved(weights: torch.Tensor, name: str) -> torch.Tensor:
    """Weights in half precision, which holds values up to 65504."""
    halved = weights.half() if weights.is_floating_point() else weights
    if not bool(torch.isfinite(halved).all()):
        raise InputError(f"{name} holds values that half precision can't, expected up to 65504; leave --half out")
    return halved


def _require_no_code(run: Path) -> None:
    """Refuse a run whose network or preprocessing is a class from outside: who gets the file would have to run it."""
    config = read_config(run)
    settings = Settings.parse(settings_of(config))
    own = "a preprocessing of its own" if has_own_preprocessing(config) else ""
    if is_own_class(settings.model.architecture):
        own = f"the network {settings.model.architecture}"
    if own:
        raise InputError(f"{run}: has {own}, which is code and can't be packed; give the run's folder away instead")


def without_texts(settings: Settings) -> Settings:
    """The settings with every text that isn't one of some choices, and so may be a path, back at its default.

    So are the arguments of a network of one's own, which no packed model has.
    """
    sections: dict[str, Any] = {}
    for section in dataclasses.fields(settings):
        values = getattr(settings, section.name)
        texts = {
            field.name: default_of(field)
            for field in dataclasses.fields(values)
            if isinstance(default_of(field), str | dict)
            and not field.metadata["choices"]
            and field.name != "architecture"
        }
        sections[section.name] = dataclasses.replace(values, **texts)
    return dataclasses.replace(settings, **sections)
