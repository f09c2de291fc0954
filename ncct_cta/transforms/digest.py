"""A digest of a list of transforms: equal lists have equal ones, in every process and on every machine."""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import json
import sys
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose

from ..common.errors import InputError

# What comes with these packages is told apart by its name; other code is the user's own, and may change under it.
NAMED = ("ncct_cta", "monai", "torch", "numpy", "builtins")
DEEPEST = 12
# What a transform gathers while it works, and no argument of it; random transforms are refused anyway.
RUNTIME_STATE = (np.random.RandomState, threading.local)


def preprocessing_digest(preprocessing: Compose) -> str:
    """A digest of a list's transforms: of their classes and of all plain values they hold.

    A class from outside this package and MONAI counts by the source of its module too: edited, it is another one.

    Returns:
        16 hexadecimal digits.

    Raises:
        InputError: if a transform holds something that can't be told from another one in the next process.
    """
    steps = [_described(transform, type(transform).__name__) for transform in preprocessing.transforms]
    together = [bool(preprocessing.lazy), _described(preprocessing.overrides, "overrides"), steps]
    return _digest(json.dumps(together).encode())


def _described(value: Any, where: str, depth: int = 0) -> Any:
    """A value as JSON; ``where`` is its name for an error."""
    if depth > DEEPEST:
        raise InputError(f"the preprocessing's {where} is nested too deeply, or holds itself; give it plain arguments")
    inner = functools.partial(_described, where=where, depth=depth + 1)
    if isinstance(value, enum.Enum):
        return [_code(type(value)), value.name]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path | torch.dtype | torch.device | np.dtype):
        return [type(value).__name__, str(value)]
    if isinstance(value, torch.Tensor | np.ndarray | np.generic | bytes):
        return _described_bytes(value)
    if isinstance(value, list | tuple):
        return [inner(item) for item in value]
    if isinstance(value, Mapping | set | frozenset):
        items = value.items() if isinstance(value, Mapping) else value
        return [type(value).__name__, sorted((inner(item) for item in items), key=json.dumps)]
    if isinstance(value, types.FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [_code(value), inner(value.__code__), inner(value.__defaults__), inner(cells)]
    if isinstance(value, types.CodeType):
        return [value.co_code.hex(), list(value.co_names), inner(value.co_consts)]
    if isinstance(value, type | types.BuiltinFunctionType):
        return _code(value)
    if isinstance(value, functools.partial):
        return ["partial", inner(value.func), inner(value.args), inner(value.keywords)]
    if isinstance(value, types.MethodType):
        return ["method", value.__func__.__qualname__, inner(value.__self__)]
    return _described_object(value, where, depth)


def _described_bytes(value: torch.Tensor | np.ndarray | np.generic | bytes) -> list[Any]:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    return [str(array.dtype), list(array.shape), _digest(array.tobytes())]


def _described_object(value: Any, where: str, depth: int) -> Any:
    try:
        attributes = vars(value)
    except TypeError:
        raise InputError(
            f"the preprocessing's {where} is a {type(value).__name__}, which can't be told from another one; "
            "give it plain arguments"
        ) from None
    named = {name: item for name, item in attributes.items() if not isinstance(item, RUNTIME_STATE)}
    held = [[name, _described(item, f"{where}.{name}", depth + 1)] for name, item in sorted(named.items())]
    return [_code(type(value)), held]


def _code(value: Any) -> list[str]:
    """The path of a class or function, and the digest of its module's source where that is the user's own."""
    module = value.__module__ or ""
    path = f"{module}.{value.__qualname__}"
    if module.partition(".")[0] in NAMED:
        return [path]
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):  # typed into an interpreter
        source = ""
    return [path, _digest(source.encode())]


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
