"""The networks that G can be: an entry each, or a class of the user's own.

An entry says how the network is built from the settings of ``model``, what the sides of its input must divide by, and
how its top is zeroed, so that a training starts from "no change". Adding one is one function and one entry here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.nets import BasicUNet, BasicUNetPlusPlus, DynUNet, UNet
from torch import nn

from ..common.errors import InputError

BASIC_UNET_LEVELS = 5


@dataclass(frozen=True)
class Architecture:
    """A network from (B, in_slices, *spatial) to (B, outputs, *spatial), unbounded.

    Args:
        build: the network, from ``spatial_dims``, ``channels`` per level, ``num_res_units``, ``norm``, ``in_slices``
            and ``outputs``, the number of images that it gives.
        multiple: what the sides of its input must divide by, from ``channels``.
        zero_top: sets what the network adds up last to zero: it then returns zeros, with all gradients alive.
        levels: how many ``channels`` it takes; None: any number from 2 on.
    """

    build: Callable[..., nn.Module]
    multiple: Callable[[Sequence[int]], int]
    zero_top: Callable[[Any], None]
    levels: int | None = None


def _halved_between_levels(channels: Sequence[int]) -> int:
    return 2 ** (len(channels) - 1)


def _unet(
    spatial_dims: int, channels: Sequence[int], num_res_units: int, norm: str, in_slices: int = 1, outputs: int = 1
) -> nn.Module:
    """UNet (Ronneberger et al., MICCAI 2015; residual units: Kerfoot et al., STACOM 2018)."""
    net = UNet(
        spatial_dims=spatial_dims,
        in_channels=in_slices,
        out_channels=outputs,
        channels=list(channels),
        strides=[2] * (len(channels) - 1),
        num_res_units=num_res_units,
        norm=norm,
    )
    if num_res_units > 0:
        # MONAI normalises the output of the top up-convolution: with instance norm every slice's
        # change would be forced to the same mean and spread, whether or not it contains vessels.
        _unet_top(net)[0].adn.N = nn.Identity()
    return net


def _unet_top(net: UNet) -> Any:
    """Return the full-resolution level of the decoder."""
    return net.model[2]  # type: ignore[index]


def _zero_unet(net: UNet) -> None:
    for layer in _unet_top(net).modules():
        if isinstance(layer, nn.modules.conv._ConvNd):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            if layer.transposed:
                nn.init.zeros_(layer.weight)


def _basic_unet(
    spatial_dims: int, channels: Sequence[int], num_res_units: int, norm: str, in_slices: int = 1, outputs: int = 1
) -> nn.Module:
    """MONAI's BasicUNet (Falk et al., Nature Methods 2019): two convolutions a level, no residual units."""
    features = (*channels, channels[0])
    affine_norm = (norm, {"affine": True})
    return BasicUNet(spatial_dims, in_channels=in_slices, out_channels=outputs, features=features, norm=affine_norm)


def _zero_basic_unet(net: BasicUNet) -> None:
    _zero(net.final_conv)


class _Only(nn.Module):
    """The one output of a network that gives a list."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, ncct: torch.Tensor) -> torch.Tensor:
        """(B, in_slices, *spatial) to (B, outputs, *spatial)."""
        image: torch.Tensor = self.net(ncct)[0]
        return image


def _unet_plus_plus(
    spatial_dims: int, channels: Sequence[int], num_res_units: int, norm: str, in_slices: int = 1, outputs: int = 1
) -> nn.Module:
    """MONAI's U-Net++ (Zhou et al., DLMIA 2018): every level's features are upsampled and joined to all above them."""
    features = (*channels, channels[0])
    affine_norm = (norm, {"affine": True})
    net = BasicUNetPlusPlus(
        spatial_dims, in_channels=in_slices, out_channels=outputs, features=features, norm=affine_norm
    )
    for shallow in range(1, 4):  # heads of a deep supervision, without a gradient here
        setattr(net, f"final_conv_0_{shallow}", nn.Identity())
    return _Only(net)


def _zero_unet_plus_plus(net: _Only) -> None:
    _zero(net.net.final_conv_0_4)  # type: ignore[arg-type]


def _dynunet(
    spatial_dims: int, channels: Sequence[int], num_res_units: int, norm: str, in_slices: int = 1, outputs: int = 1
) -> nn.Module:
    """nnU-Net's network (Isensee et al., Nature Methods 2021); residual blocks if ``num_res_units`` isn't 0."""
    strides = [1] + [2] * (len(channels) - 1)
    return DynUNet(
        spatial_dims,
        in_channels=in_slices,
        out_channels=outputs,
        kernel_size=[3] * len(channels),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=list(channels),
        norm_name=(norm, {"affine": True}),
        res_block=num_res_units > 0,
    )


def _zero_dynunet(net: DynUNet) -> None:
    _zero(net.output_block)


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


ARCHITECTURES: Mapping[str, Architecture] = {
    "unet": Architecture(_unet, _halved_between_levels, _zero_unet),
    "basic_unet": Architecture(_basic_unet, _halved_between_levels, _zero_basic_unet, levels=BASIC_UNET_LEVELS),
    "unet_plus_plus": Architecture(
        _unet_plus_plus, _halved_between_levels, _zero_unet_plus_plus, levels=BASIC_UNET_LEVELS
    ),
    "dynunet": Architecture(_dynunet, _halved_between_levels, _zero_dynunet),
}


def is_own_class(architecture: str) -> bool:
    """Say whether ``architecture`` names a class of the user's own (``package.module.Class``), not an entry."""
    return architecture not in ARCHITECTURES and "." in architecture


def own_class(architecture: str) -> type[nn.Module]:
    """Import a network class of the user's own; importing runs its module's code.

    Args:
        architecture: ``package.module.Class``.

    Raises:
        InputError: if it can't be imported or is no ``torch.nn.Module``.
    """
    module, _, name = architecture.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module of the user's may raise anything while it is imported
        raise InputError(
            f"model.architecture is {architecture!r}, which can't be imported ({type(error).__name__}: {error}); "
            "put the folder that holds it on PYTHONPATH"
        ) from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"model.architecture is {architecture!r}, expected a class derived from torch.nn.Module")
    return found


def architecture_problems(architecture: str, channels: Sequence[int], norm: str, sides: Sequence[int]) -> list[str]:
    """List what is wrong with an entry's settings and a training patch together, though each value is fine alone.

    Args:
        architecture: an entry's name, or a class of the user's own, of which nothing is known here.
        channels: features per level.
        norm: the normalisation layer.
        sides: the training patch in voxels.
    """
    if is_own_class(architecture):
        return []
    if architecture not in ARCHITECTURES:
        names = ", ".join(ARCHITECTURES)
        return [f"model.architecture is {architecture!r}, expected one of {names}, or package.module.Class of your own"]
    entry, levels = ARCHITECTURES[architecture], len(channels)
    if levels < 2 or entry.levels not in (None, levels):
        return [f"model.channels is {list(channels)}, expected {entry.levels or 'at least 2'} levels"]
    multiple = entry.multiple(channels)
    problems = []
    if norm == "instance" and all(side <= multiple for side in sides):
        problems.append(
            f"data.patch_size is {list(sides)}, expected more than {multiple} one way: the "
            f"{levels} levels of model.channels leave one voxel, which instance norm can't normalise"
        )
    if any(side % multiple for side in sides):
        problems.append(
            f"data.patch_size is {list(sides)}, expected multiples of {multiple} "
            f"for the {levels} levels of model.channels"
        )
    return problems
