"""Read checkpoints safely, and say in words what is wrong with one."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .errors import InputError
from .keys import EMA, NETWORK


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint's plain data and tensors; nothing in the file is executed (``weights_only``).

    All lies on the CPU, where the random states belong; ``load_state_dict`` moves the rest to its network.

    Raises:
        InputError: if the file is missing, damaged, or not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # PyTorch doesn't compare the checksums
        if damaged:
            raise ValueError(f"the checksum of {damaged} is wrong")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable checkpoint, or damaged ({reason}); take another one") from error
    if not isinstance(checkpoint, Mapping):
        raise InputError(
            f"{path}: holds a {type(checkpoint).__name__}, expected a checkpoint of this software or a state dict"
        )
    return dict(checkpoint)


def network_weights(checkpoint: Mapping[str, Any], path: str | Path) -> dict[str, torch.Tensor]:
    """The cascade's weights in a checkpoint, the averaged ones if it has any; or a plain state dict as it is.

    Raises:
        InputError: if there are none.
    """
    weights = checkpoint.get(EMA) or checkpoint.get(NETWORK) or checkpoint
    if not weights or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path}: holds no network weights (entries: {', '.join(map(str, list(checkpoint)[:8]))})")
    return dict(weights)


def part_weights(checkpoint: Mapping[str, Any], part: str, path: str | Path) -> dict[str, torch.Tensor]:
    """The weights of G (``generator``) or G2 (``refine_net``) in a checkpoint, or in a state dict of that net alone.

    Prefixes that wrappers add (``module.``, ``_orig_mod.``) are taken off.
    """
    weights = {
        name.removeprefix("module.").removeprefix("_orig_mod."): value
        for name, value in network_weights(checkpoint, path).items()
    }
    own = {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
    return own or weights


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Load weights completely or not at all.

    Raises:
        InputError: naming the layers that are missing, unexpected, or of another shape.
    """
    own = network.state_dict()
    missing = [name for name in own if name not in weights]
    unexpected = [name for name in weights if name not in own]
    differing = [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if missing or unexpected or differing:
        parts = (("missing", missing), ("unexpected", unexpected), ("of another shape", differing))
        listed = "; ".join(f"{len(names)} {what}: {', '.join(names[:3])}" for what, names in parts if names)
        raise InputError(f"{path}: the weights are of another architecture than the model settings ({listed})")
    network.load_state_dict(dict(weights))
