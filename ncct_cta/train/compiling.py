"""PyTorch's compiler, for the networks of a training."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from torch import nn

from ..common.errors import InputError


def compile_networks(*networks: nn.Module | None) -> None:
    """Compile networks in place, when they are first called; their weights keep their names, and copies are plain.

    Raises:
        InputError: if there is no C++ compiler, or Python's headers are missing: PyTorch's own needs both.
    """
    # Imported here: it takes seconds.
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise InputError(
            "train.compile is true, and there is no C++ compiler; install one (g++, or name yours by the environment "
            "variable CXX), or leave train.compile false"
        ) from error
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise InputError(
            f"train.compile is true, and Python's headers aren't in {headers}; install them (on Debian: python3-dev), "
            "or leave train.compile false"
        )
    for network in networks:
        if network is not None:
            network.compile()
