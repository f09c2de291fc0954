"""The part of a volume that a network sees: a box around the body, so that it doesn't matter what surrounds it.

Instance norm divides by the mean and spread of all that the network sees, and strided convolutions have a phase: both
would let the air around the patient change the result inside. A box that is found from the body, and filled with air
where it reaches beyond the scan, is the same however much air there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..common.hu import AIR_HU, LUNG_UPPER_HU

# Around the body within the axial slice, in voxels: the skin with its partial volume, and some of the air before it.
MARGIN = 8

Box = tuple[slice, ...]  # first and last + 1 along each axis; the first may lie below 0 and the last beyond the volume


def body_box(ncct_hu: torch.Tensor) -> Box:
    """The smallest box with all tissue of a scan (X, Y, Z) in HU, table included; the whole scan if it holds none."""
    tissue = ncct_hu > LUNG_UPPER_HU
    in_plane = tissue.any(dim=2)
    occupied = (in_plane.any(dim=1), in_plane.any(dim=0), tissue.any(dim=0).any(dim=0))
    if not in_plane.any():
        return tuple(slice(0, size) for size in ncct_hu.shape)
    found = [torch.nonzero(axis)[:, 0] for axis in occupied]
    return tuple(slice(int(places[0]), int(places[-1]) + 1) for places in found)


def widened(
    box: Box, least: Sequence[int] = (1, 1), *, multiple: int = 1, margin: Sequence[int] = (MARGIN, MARGIN)
) -> Box:
    """Widen a box within the axial slice, evenly to both sides; along Z, where scans end within the body, it stays.

    Args:
        box: of the body.
        least: the sizes along X and Y that it gets at least.
        multiple: what its sizes along X and Y are multiples of.
        margin: what stays free around the body on both sides of X and Y.
    """
    sides = []
    for side, smallest, free in zip(box[:2], least, margin, strict=False):
        size = max(side.stop - side.start + 2 * free, smallest)
        size += -size % multiple
        start = (side.start + side.stop - size) // 2
        sides.append(slice(start, start + size))
    return (*sides, *box[2:])


def cut(image: torch.Tensor, box: Box, air: float = AIR_HU) -> torch.Tensor:
    """The box along the last axes of an image; air where it reaches beyond."""
    inside, within = _overlap(box, image)
    sizes = [side.stop - side.start for side in box]
    found = image[inside]
    if list(found.shape[-len(box) :]) == sizes:
        return found
    part = image.new_full((*image.shape[: -len(box)], *sizes), air)
    part[within] = found
    return part


def paste(part: torch.Tensor, box: Box, image: torch.Tensor) -> None:
    """Write what ``cut`` took back into an image; what lies beyond it is dropped."""
    inside, within = _overlap(box, image)
    image[inside] = part[within]


def _overlap(box: Box, image: torch.Tensor) -> tuple[Any, Any]:
    """Where a box and an image overlap: the index of that part in the image, and in the box."""
    sizes = image.shape[-len(box) :]
    inside = [slice(max(side.start, 0), min(side.stop, size)) for side, size in zip(box, sizes, strict=True)]
    within = [slice(part.start - side.start, part.stop - side.start) for part, side in zip(inside, box, strict=True)]
    return (..., *inside), (..., *within)
