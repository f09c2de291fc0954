"""Mixed precision: the data type of a forward pass on each device."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from .errors import InputError

AMPERE = (8, 0)  # NVIDIA's first GPUs with bf16, by their compute capability
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """Resolve a device name: ``auto`` is the first CUDA device, or the CPU without one; other names are PyTorch's.

    Raises:
        InputError: if PyTorch doesn't know the device or it isn't available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] == "mps" and not torch.backends.mps.is_available():
        why = "this PyTorch was built without it" if not torch.backends.mps.is_built() else "it needs macOS 14 or later"
        raise InputError(f"device is {name!r}, Apple's GPU, which isn't there ({why}); give cpu, or auto")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device is {name!r}, expected auto, cpu, mps or a CUDA device that is there ({reason})"
        ) from error
    return device


def has_native_bf16(device: torch.device) -> bool:
    """Whether a device computes in bf16; others emulate it, which takes longer than float32."""
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= AMPERE
    # The oldest PyTorch that is supported has no other names for these.
    return device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def resolve_amp(amp: str, device: torch.device) -> str:
    """Resolve a mixed precision: ``auto`` is bf16 where the device computes in it, else off; others stay.

    Raises:
        InputError: if ``amp`` is fp16 and the device isn't CUDA: there it can't train or is slower than float32.
    """
    if amp == "fp16" and device.type != "cuda":
        raise InputError(f"amp is fp16 on {device.type}, which needs a CUDA device; use bf16 or off")
    if amp != "auto":
        return amp
    return "bf16" if has_native_bf16(device) else "off"


def autocast(device: torch.device, amp: str) -> AbstractContextManager:
    """Return the autocast context of a forward pass; ``amp`` is off, bf16 or fp16."""
    return torch.autocast(device.type, dtype=DTYPES.get(amp), enabled=amp != "off")
