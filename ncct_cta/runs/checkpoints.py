"""Read checkpoints safely, and report clearly what is wrong with one."""

from __future__ import annotations

import json
import logging
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..common.errors import InputError
from ..common.keys import EMA, NETWORK
from ..common.names import shortened
from ..settings import section_types
from .names import SETTINGS, require_checkpoint

logger = logging.getLogger(__name__)

WRAPPERS = ("module", "_orig_mod")  # of DistributedDataParallel, of torch.compile


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint's plain data and tensors; nothing in the file is executed (``weights_only``).

    Everything is loaded on the CPU, where the random states belong; ``load_state_dict`` moves the rest to its network.

    Raises:
        InputError: if the file is missing, damaged, or not a checkpoint.
    """
    path = Path(path)
    require_checkpoint(path)
    try:
        if zipfile.is_zipfile(path):  # the format before PyTorch 1.6 isn't a zip file
            _check_archive(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged bytes the unpickler can raise anything
        reason = _reason(error)
        raise InputError(f"{path}: not a readable checkpoint, or damaged ({reason}); take another one") from error
    if not isinstance(checkpoint, Mapping):
        raise InputError(
            f"{path}: holds a {type(checkpoint).__name__}, expected a checkpoint of this software or a state dict"
        )
    _check_recorded(checkpoint.get(SETTINGS, {}), path)
    return dict(checkpoint)


def _check_recorded(stored: Any, path: Path) -> None:
    """Refuse what can't be settings: no sections, or texts and lists in themselves without an end."""
    if not isinstance(stored, Mapping):
        raise InputError(f"{path}: its settings are a {type(stored).__name__}, expected sections; take another one")
    for name in section_types():
        if not isinstance(stored.get(name, {}), Mapping):
            raise InputError(f"{path}: its settings of {name} aren't names with values; take another one")
    try:
        json.dumps(stored, default=str, skipkeys=True)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its settings are nested too deeply; take another one") from error


def _check_archive(path: Path) -> None:
    """Compare the checksums, which PyTorch doesn't, of an archive that unpacks to no more than it holds."""
    with zipfile.ZipFile(path) as archive:
        # PyTorch stores tensors uncompressed: what unpacks to more was made to fill the memory.
        declared, present = sum(entry.file_size for entry in archive.infolist()), path.stat().st_size
        if declared > present:
            raise ValueError(f"its {present} bytes unpack to {declared}, which no checkpoint's do")
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of {damaged} is wrong")


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # PyTorch's text is a page on how to run it all the same
        return "it holds Python objects beside tensors and plain data, which could run code"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def require_finite(state: Mapping[str, Any], source: str | Path) -> None:
    """Refuse weights that aren't finite: they would make an image of nothing, and no training comes back from them.

    Complex ones are refused too: PyTorch takes their real part and says so in a warning at most.

    Args:
        state: a state dict; entries that are no tensors, and counters, aren't looked at.
        source: where it is from, for the message.

    Raises:
        InputError: naming the first such entry.
    """
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_complex():
            raise InputError(f"{source}: {name} holds complex numbers, expected real ones; take an earlier checkpoint")
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{source}: {name} holds values that aren't finite; take an earlier checkpoint")


def check_settings(
    trained: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
    path: str | Path,
    remedy: str = "set it so, or start without this checkpoint",
) -> None:
    """Compare the settings that a checkpoint was trained with to those given; a plain state dict has none.

    Args:
        trained: the checkpoint's settings by section, as plain data; settings that an older version lacked aren't
            compared.
        given: the settings by section.
        names: ``section.key`` of the settings that must be equal; a different ``data.spacing`` only gives a warning.
        path: the checkpoint.
        remedy: what the error ends with.

    Raises:
        InputError: naming every setting that differs, with both values.
    """
    differing = {}
    for name in (*names, "data.spacing"):
        section, key = name.split(".")
        if key in trained.get(section, {}) and trained[section][key] != given[section][key]:
            differing[name] = f"{name} is {given[section][key]}, expected {trained[section][key]}"
    spacing = differing.pop("data.spacing", "")
    if differing:
        listed = "; ".join(differing.values())
        raise InputError(f"{path}: trained with other settings: {listed}; {remedy}")
    if spacing:
        logger.warning("%s: trained on another grid: %s", path, spacing)


def network_weights(checkpoint: Mapping[str, Any], path: str | Path) -> dict[str, torch.Tensor]:
    """The cascade's weights in a checkpoint, the averaged ones if present; or those of a plain state dict.

    The state dict may be the whole file or an entry of it, next to counters and optimisers (``{"state_dict": ...}``).

    Raises:
        InputError: if there are none, or several networks, or something else stands among the weights.
    """
    for name in (EMA, NETWORK):  # a damaged average must not be passed over for the network's own weights
        entry = checkpoint.get(name)
        entries = entry if isinstance(entry, Mapping) else {}
        odd = [key for key, value in entries.items() if not _is_tensor(value)]
        if odd and len(odd) < len(entries):
            raise InputError(f"{path}: {shortened(f'{name}.{odd[0]}')} is no tensor, expected weights; it is damaged")
    named = {str(name): value for name, value in checkpoint.items() if _is_state_dict(value)}
    weights = named.get(EMA) or named.get(NETWORK) or (checkpoint if _is_state_dict(checkpoint) else None)
    if weights is None and len(named) > 1:
        raise InputError(f"{path}: holds several networks ({', '.join(named)}); save the one to start from alone")
    if weights is None and not named:
        raise InputError(f"{path}: holds no network weights (entries: {', '.join(map(str, list(checkpoint)[:8]))})")
    return dict(weights or next(iter(named.values())))


def _is_state_dict(content: Any) -> bool:
    is_filled = isinstance(content, Mapping) and bool(content)
    return is_filled and all(map(_is_tensor, content.values()))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def part_weights(checkpoint: Mapping[str, Any], part: str, path: str | Path) -> dict[str, torch.Tensor]:
    """The weights of G (``generator``) or G2 (``refine_net``) in a checkpoint, or in a state dict of that net alone.

    Prefixes added by wrappers (``module.``, ``_orig_mod.``) are removed, in any order.
    """
    weights = {
        ".".join(word for word in name.split(".") if word not in WRAPPERS): value
        for name, value in network_weights(checkpoint, path).items()
    }
    own = {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
    return own or weights


def load_weights(network: nn.Module, weights: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Load weights completely or not at all.

    Raises:
        InputError: naming the layers that are missing, unexpected, of another shape or type, or not finite.
    """
    require_finite(weights, path)
    found = _mismatches(weights, network.state_dict())
    listed = "; ".join(f"{len(names)} {what}: {', '.join(names[:3])}" for what, names in found.items() if names)
    if listed:
        raise InputError(f"{path}: the weights are of another architecture than the model settings ({listed})")
    network.load_state_dict(dict(weights))


def _mismatches(weights: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    pairs = {name: (weights[name], own[name]) for name in own if name in weights}
    return {
        "missing": [name for name in own if name not in weights],
        "unexpected": [name for name in weights if name not in own],
        "of another shape": [
            f"{name} is {tuple(given.shape)}, expected {tuple(expected.shape)}"
            for name, (given, expected) in pairs.items()
            if given.shape != expected.shape
        ],
        "of another type": [  # PyTorch would cast it without a word
            f"{name} is {given.dtype}, expected {expected.dtype}"
            for name, (given, expected) in pairs.items()
            if given.is_floating_point() != expected.is_floating_point()
        ],
    }
