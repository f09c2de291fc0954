"""Training patches, moved and cut out of larger boxes on whatever device a batch lies."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from ..common.keys import CTA, MARGIN, MOVEMENT, NCCT

REACH = 2  # voxels on each side that a cubic spline is taken of
CTS = (NCCT, CTA)  # what is interpolated; other images are masks
POLE = math.sqrt(3) - 2  # of the filter that finds a cubic spline's coefficients
DOUBLINGS = 4  # of the number of its terms: 16 of them, of which the last is 3e-9


def moved_patches(boxes: Mapping[str, Any], movements: torch.Tensor, margin: Sequence[int]) -> dict[str, Any]:
    """Move the images of a batch and cut the patches out of their middles; whatever else is in it stays.

    A voxel at ``p`` from the patch's middle gets what lies at ``A p + b`` from the box's middle, for a movement (A, b).
    Linear interpolation takes up to a third of a CT's noise away, and the network would be taught CTAs that are softer
    than real ones; cubic splines (Unser, IEEE Signal Processing Magazine 1999) keep 95 % of a usual kernel's noise.
    Slices are moved by these, volumes linearly, and masks take their nearest voxel. A sample that doesn't move is cut
    out as it is.

    Args:
        boxes: the batch: images (B, C, *spatial), all on one device, and ``movement`` there too.
        movements: the same (B, n, n + 1), where it can be read without waiting for a device.
        margin: voxels by which a box is larger than the patch at each end of its axes.
    """
    images = {key: value for key, value in boxes.items() if torch.is_tensor(value) and key not in (MOVEMENT, MARGIN)}
    others = {key: value for key, value in boxes.items() if not torch.is_tensor(value)}
    inside = (..., *(slice(more, -more or None) for more in margin))
    patches = {key: image[inside].clone(memory_format=torch.contiguous_format) for key, image in images.items()}
    still = torch.eye(len(margin), len(margin) + 1).tolist()
    moving = [number for number, movement in enumerate(movements.tolist()) if movement != still]
    together = len(moving) if boxes[MOVEMENT].is_cuda else 1  # a CPU's cache holds a sample, no batch
    for numbers in (moving[start : start + together] for start in range(0, len(moving), together or 1)):
        some = {key: _picked(image, numbers) for key, image in images.items()}
        first = next(iter(images))
        places = _places(_picked(boxes[MOVEMENT], numbers), images[first].shape[2:], patches[first].shape[2:])
        moved = _moved({key: image for key, image in some.items() if key in CTS}, places, _interpolated)
        moved |= _moved({key: image for key, image in some.items() if key not in CTS}, places, _nearest)
        for key, (place, number) in itertools.product(moved, enumerate(numbers)):
            patches[key][number] = moved[key][place]
    return {**patches, **others}


def _picked(tensor: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
    """Some samples of a batch; a list as an index would be sent to the device, which waits."""
    return torch.stack([tensor[number] for number in numbers])


def _moved(
    images: Mapping[str, torch.Tensor],
    places: Sequence[torch.Tensor],
    look_up: Callable[[torch.Tensor, Sequence[torch.Tensor]], torch.Tensor],
) -> dict[str, torch.Tensor]:
    """What lies at places of several images, as channels of one: together they cost little more than one."""
    if not images:
        return {}
    moved = look_up(torch.cat(list(images.values()), dim=1), places)
    return dict(zip(images, moved.split([image.shape[1] for image in images.values()], dim=1), strict=True))


def _places(movements: torch.Tensor, box: Sequence[int], patch: Sequence[int]) -> list[torch.Tensor]:
    """Where each voxel of a patch is taken from: for each axis (B, *patch), in voxels of the box."""
    dims = len(box)
    along = [
        (torch.arange(side, device=movements.device) - (side - 1) / 2).reshape(
            [-1 if n == axis else 1 for n in range(dims)]
        )
        for axis, side in enumerate(patch)
    ]
    places = []
    for axis, side in enumerate(box):
        # Not a matrix product: a GPU that is allowed to may round its factors to 10 bits.
        *factors, shift = movements[:, axis].reshape(-1, dims + 1, *[1] * dims).unbind(1)
        place = shift + (side - 1) / 2
        for factor, steps in zip(factors, along, strict=True):
            place = place + factor * steps
        places.append(place)
    return places


def _interpolated(images: torch.Tensor, places: Sequence[torch.Tensor]) -> torch.Tensor:
    """What lies at places, for slices by cubic splines, for volumes linearly; the edge beyond it.

    Args:
        images: (B, C, *spatial).
        places: for each axis (B, *patch), in voxels.
    """
    if len(places) == 3:
        return _looked_up(images, _scaled(places, images), "bilinear")
    moved = _splined(images, places)
    # Splines overshoot at edges: each image stays in its own range, and so in the HU window.
    spatial = tuple(range(2, images.ndim))
    return moved.clamp(images.amin(spatial, keepdim=True), images.amax(spatial, keepdim=True))


def _nearest(images: torch.Tensor, places: Sequence[torch.Tensor]) -> torch.Tensor:
    """The voxels nearest to places; see ``_interpolated``."""
    return _looked_up(images, _scaled(places, images), "nearest")


def _splined(images: torch.Tensor, places: Sequence[torch.Tensor]) -> torch.Tensor:
    """A cubic spline through all voxels, as a weighted sum of 2 linear lookups along each axis.

    The weights of the coefficients at either side of a place are positive, and so their mean is a linear lookup between
    the two (Ruijters, ter Haar Romeny & Suetens, Journal of Graphics Tools 2008).
    """
    weights, lookups = [], []
    for place in places:
        before = place.floor()
        beyond = place - before
        second, fourth = 2 / 3 - beyond.square() * (1 - beyond / 2), beyond**3 / 6
        left = (1 - beyond) ** 3 / 6 + second
        weights.append((left, 1 - left))
        lookups.append((before - 1 + second / left, before + 1 + fourth / (1 - left)))
    left_and_right = [_scaled(side, images) for side in zip(*lookups, strict=True)]
    coefficients = _spline_coefficients(images)
    moved = torch.zeros((), device=images.device)
    for sides in itertools.product((0, 1), repeat=len(places)):
        weight = functools.reduce(torch.mul, (weights[axis][side] for axis, side in enumerate(sides)))
        at = [left_and_right[side][axis] for axis, side in enumerate(sides)]
        moved = torch.addcmul(moved, weight[:, None], _looked_up(coefficients, at, "bilinear"))
    return moved


def _spline_coefficients(images: torch.Tensor) -> torch.Tensor:
    """``sqrt(3) * sum_k POLE^|k| image(p - k)`` along each axis: the cubic B-splines whose sum goes through all voxels.

    Unser's recursion, but of a few steps: ``1 + z + ... + z^15 = (1 + z) (1 + z^2) (1 + z^4) (1 + z^8)``. Beyond the
    edges the image goes on as it ends there.

    Args:
        images: (B, C, *spatial).
    """
    beyond = 2**DOUBLINGS - 1
    found = functional.pad(images, [beyond] * 2 * (images.ndim - 2), mode="replicate")
    for axis, side in enumerate(images.shape[2:], start=2):
        ahead = behind = found
        for step in (2**power for power in range(DOUBLINGS)):
            fewer = ahead.shape[axis] - step
            ahead = torch.add(ahead.narrow(axis, step, fewer), ahead.narrow(axis, 0, fewer), alpha=POLE**step)
            behind = torch.add(behind.narrow(axis, 0, fewer), behind.narrow(axis, step, fewer), alpha=POLE**step)
        both = ahead.narrow(axis, 0, side) + behind.narrow(axis, beyond, side)
        found = math.sqrt(3) * (both - found.narrow(axis, beyond, side))
    return found


def _scaled(places: Sequence[torch.Tensor], images: torch.Tensor) -> list[torch.Tensor]:
    """Places in [-1, 1] from the first to the last voxel of each axis, as PyTorch has them."""
    return [2 / max(side - 1, 1) * place - 1 for place, side in zip(places, images.shape[2:], strict=True)]


def _looked_up(images: torch.Tensor, scaled: Sequence[torch.Tensor], mode: str) -> torch.Tensor:
    """What lies at places in [-1, 1], the edge beyond it; PyTorch wants the last axis first."""
    grid = torch.stack(list(scaled)[::-1], dim=-1)
    return functional.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=True)
