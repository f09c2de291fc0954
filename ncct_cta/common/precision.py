"""Mixed precision: the data type of a forward pass on each device."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from .errors import InputError

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


def check_amp(amp: str, device: torch.device) -> None:
    """Refuse fp16 on devices where it can't train or is slower than float32.

    Raises:
        InputError: if ``amp`` is fp16 on a CPU.
    """
    if amp == "fp16" and device.type != "cuda":
        raise InputError(f"amp is fp16 on {device.type}, which needs a CUDA device; use bf16 or off")


def autocast(device: torch.device, amp: str) -> AbstractContextManager:
    """Return the autocast context of a forward pass; ``amp`` is off, bf16 or fp16."""
    return torch.autocast(device.type, dtype=DTYPES.get(amp), enabled=amp != "off")
