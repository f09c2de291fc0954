"""Equality of checkpoints to the last bit."""

from __future__ import annotations

from typing import Any

import torch


def assert_same_tree(one: Any, other: Any, where: str) -> None:
    """Every tensor, list and value below two trees is equal; NaN equals NaN. ``where`` names the place in a failure."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same_tree(one[key], other[key], f"{where} / {key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same_tree(*pair, f"{where} / {index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other or (one != one and other != other), where
