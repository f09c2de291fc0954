"""Tensors in a file that can hold nothing else: the safetensors format, which any program reads without running code.

Eight bytes give the length of a JSON header, ``{name: {"dtype", "shape", "data_offsets"}}``; the values follow, as
they lie in memory, little-endian (https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

LENGTH_BYTES = 8
METADATA = "__metadata__"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def tensors_to_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file; equal tensors give equal bytes.

    Raises:
        ValueError: if one is of a type that the format lacks.
    """
    header: dict[str, Any] = {}
    values: list[bytes] = []
    at = 0
    # The widest types first: each value then lies at a multiple of its size.
    for name in sorted(tensors, key=lambda name: (-tensors[name].element_size(), name)):
        tensor = tensors[name].detach().cpu().contiguous()
        if tensor.dtype not in NAMES:
            raise ValueError(f"{name} is {tensor.dtype}, expected one of {', '.join(map(str, NAMES))}")
        values.append(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        span = [at, at + len(values[-1])]
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": span}
        at = span[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + b"".join(values)


def tensors_from_bytes(content: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        ValueError: saying what is wrong, if these aren't the bytes of such a file.
    """
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + length
    if start > len(content):
        raise ValueError("its weights are no safetensors file")
    try:
        header = json.loads(content[LENGTH_BYTES:start])
    except (ValueError, RecursionError):
        raise ValueError("its weights are no safetensors file") from None
    if not isinstance(header, dict):
        raise ValueError("its weights are no safetensors file")
    header.pop(METADATA, None)
    # One copy that can be written to, which is what PyTorch makes tensors of.
    buffer = bytearray(content[start:])
    tensors, spans = {}, []
    for name, entry in header.items():
        dtype, shape, span = _entry(name, entry, len(buffer))
        spans.append(span)
        count = math.prod(shape)
        values = torch.frombuffer(buffer, dtype=dtype, count=count, offset=span[0]) if count else torch.empty(0)
        tensors[name] = values.to(dtype).reshape(shape)
    _require_no_gaps(spans, len(buffer))
    return tensors


def _entry(name: str, entry: Any, size: int) -> tuple[torch.dtype, list[int], tuple[int, int]]:
    """Type, shape and place of a tensor, which agree with each other and with the size of all."""
    try:
        dtype, shape, (first, end) = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        numbers = [*shape, first, end]
        fits = all(type(number) is int and number >= 0 for number in numbers)
        fits = fits and end <= size and end - first == math.prod(shape) * dtype.itemsize and first % dtype.itemsize == 0
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(f"its weights' entry {name[:40]!r} doesn't describe a tensor")
    return dtype, shape, (first, end)


def _require_no_gaps(spans: list[tuple[int, int]], size: int) -> None:
    """Bytes that no tensor holds could hold anything, and tensors that share theirs are nobody's weights."""
    at = 0
    for first, end in sorted(spans):
        if first != at:
            raise ValueError("its weights leave bytes out or share them")
        at = end
    if at != size:
        raise ValueError("its weights leave bytes out or share them")
