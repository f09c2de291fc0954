"""The Python API: ``synthesize``, ``Model``, ``evaluate``, ``train``, and ``InputError``, of which all errors are.

``ncct_cta.synthesize`` and ``ncct_cta.Model`` are these too. ``evaluate`` and ``train`` have their home here alone:
``ncct_cta.train`` is already the package behind the command, and a name can't be a package and a function.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..common.errors import InputError

if TYPE_CHECKING:
    from .model import Model, synthesize
    from .workflows import evaluate, train

__all__ = ["InputError", "Model", "evaluate", "synthesize", "train"]

# PyTorch and MONAI take seconds to import: they are when a name is used first.
_HOMES = {"Model": "model", "synthesize": "model", "evaluate": "workflows", "train": "workflows"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
