"""Several trained models that were trained alike, used as one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from ..common.errors import InputError
from ..networks.ensemble import Ensemble
from ..transforms import preprocessing_digest
from .trained_model import TrainedModel

# What all members must share: they see the same image.
SHARED = ("data.window", "data.spacing", "data.patch_size", "model.in_slices")


class TrainedEnsemble:
    """Trained models whose mean is the prediction; it has what inference needs of a ``TrainedModel``.

    Args:
        members: two or more.

    Raises:
        InputError: if they were trained on other windows, grids or patches, or see their scans otherwise, or two hold
            the same weights.
    """

    untrained = False

    def __init__(self, members: Sequence[TrainedModel]) -> None:
        first = members[0]
        for other in members[1:]:
            _require_alike(first, other)
        for number, other in enumerate(members):
            _require_no_copy(other, members[:number])
        self.members = tuple(members)
        self.settings, self.device, self.preprocessing = first.settings, first.device, first.preprocessing
        self.network: nn.Module = first.network
        self.cascade: nn.Module = Ensemble([member.cascade for member in members])
        self.inferer = first.inferer
        self.inferer.multiple = math.lcm(*(member.inferer.multiple for member in members))
        self.inferer.windowed = any(member.inferer.windowed for member in members)

    @property
    def identity(self) -> str:
        """The number of members, and the SHA-256 of their identities, in whatever order they are given."""
        listed = "\n".join(sorted(member.identity for member in self.members))
        return f"ensemble of {len(self.members)} sha256:{hashlib.sha256(listed.encode()).hexdigest()}"


def _require_alike(first: TrainedModel, other: TrainedModel) -> None:
    for name in SHARED:
        expected, found = (attrgetter(name)(model.settings) for model in (first, other))
        if expected != found:
            raise InputError(
                f"{other.checkpoint}: its {name} is {found}, and that of {first.checkpoint} is {expected}; an "
                "ensemble's models are trained alike"
            )
    if _preprocessing(first) != _preprocessing(other):
        raise InputError(f"{other.checkpoint}: its preprocessing isn't that of {first.checkpoint}; leave one out")


def _require_no_copy(model: TrainedModel, others: Sequence[TrainedModel]) -> None:
    """Refuse the same weights twice: copies agree everywhere, and their spread would say that all is certain."""
    own = model.network.state_dict()  # the cascade may be another engine's, which has none
    for other in others:
        weights = other.network.state_dict()
        if own.keys() == weights.keys() and all(torch.equal(own[name], weights[name]) for name in own):
            raise InputError(
                f"{model.checkpoint}: holds the same weights as {other.checkpoint}, expected another training; leave "
                "one out"
            )


def _preprocessing(model: TrainedModel) -> Any:
    return None if model.preprocessing is None else preprocessing_digest(model.preprocessing)
