"""PyTorch's compiler, for the networks of a training."""

from __future__ import annotations

from torch import nn

from ..common.errors import InputError


def compile_networks(*networks: nn.Module | None) -> None:
    """Compile networks in place, when they are first called; their weights keep their names, and copies are plain.

    Raises:
        InputError: if there is no C++ compiler, which PyTorch's own needs.
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
    for network in networks:
        if network is not None:
            network.compile()
