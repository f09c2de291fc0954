"""Tensors in a file that can hold nothing else: the safetensors format, read without running code."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from safetensors import SafetensorError


def tensors_to_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file; equal tensors give equal bytes.

    Raises:
        ValueError: if one is of a type that the format lacks.
    """
    # A copy each: the format refuses tensors that share their memory, as G's may in two networks.
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    try:
        return safetensors.torch.save(own)
    except (KeyError, SafetensorError) as error:
        raise ValueError(f"safetensors doesn't take one of the tensors: {error}") from error


def tensors_from_bytes(content: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        ValueError: saying what is wrong, if these aren't the bytes of such a file.
    """
    try:
        return safetensors.torch.load(content)
    except (KeyError, OverflowError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"its weights are no safetensors file: {error}") from error
