"""Tensors as the bytes of a safetensors file."""

from __future__ import annotations

import json

import pytest
import torch

from ncct_cta.runs.tensor_file import tensors_from_bytes, tensors_to_bytes

TENSORS = {
    "flag": torch.tensor([True, False, True]),
    "weights": torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0)),
    "half": torch.ones(7).bfloat16(),
    "count": torch.tensor(4),
    "empty": torch.zeros(0, 3),
}


def made(header: object, values: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + values


def entry(shape: list[int], span: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": span}


def test_tensors_come_back_bit_for_bit() -> None:
    back = tensors_from_bytes(tensors_to_bytes(TENSORS))
    assert back.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)


def test_the_order_of_the_names_changes_no_byte() -> None:
    assert tensors_to_bytes(dict(reversed(TENSORS.items()))) == tensors_to_bytes(TENSORS)


def test_tensors_that_share_their_memory_are_stored_each() -> None:
    tensor = torch.arange(3.0)
    back = tensors_from_bytes(tensors_to_bytes({"a": tensor, "b": tensor, "part": tensor[::2]}))
    assert [back[name].tolist() for name in ("a", "b", "part")] == [[0, 1, 2], [0, 1, 2], [0, 2]]


def test_a_file_of_the_format_with_a_note_is_read() -> None:
    content = made({"__metadata__": {"by": "other"}, "a": entry([2], [0, 8])}, b"\0" * 8)
    assert torch.equal(tensors_from_bytes(content)["a"], torch.zeros(2))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95 a pickle",
        (2**62).to_bytes(8, "little") + b"{}",
        made([1], b""),
        made({"a": entry([2], [0, 4])}, b"\0" * 8),
        made({"a": entry([2**40], [0, 2**42])}, b"\0" * 8),
        made({"a": entry([2], [0, 8], "PICKLE")}, b"\0" * 8),
        made({"a": entry([-2], [0, -8])}, b"\0" * 8),
        made({"a": entry([1], [0, 4])}, b"\0" * 8),
        made({"a": entry([2], [0, 8]), "b": entry([2], [0, 8])}, b"\0" * 8),
        made({"a": 3}, b""),
    ],
    ids=["empty", "pickle", "length", "list", "size", "huge", "type", "negative", "gap", "shared", "number"],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="its weights"):
        tensors_from_bytes(content)
