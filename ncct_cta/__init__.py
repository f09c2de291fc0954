"""Synthesise a CT angiography (CTA) from a non-contrast chest CT (NCCT)."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import InputError, Model, synthesize

__all__ = ["InputError", "Model", "synthesize"]
__version__ = "0.1.0"

# Set before PyTorch is loaded, so that its threads sleep while they wait. Spinning, which is the default, made a
# training step on two cores eight times slower when another program was busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api  # when a name is used first: neither the package nor a command's help waits for it

    return getattr(api, name)
