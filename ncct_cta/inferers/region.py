"""The part of a volume that a network sees: a box around the body, so that it doesn't matter what surrounds it.

Instance norm divides by the mean and spread of all that the network sees, and strided convolutions have a phase: both
would let the air around the patient change the result inside. A box that is found from the body, and filled with air
where it reaches beyond the scan, is the same however much air there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage

from ..common.hu import AIR_HU, LUNG_UPPER_HU

# Around the body within the axial slice, in voxels: the skin with its partial volume, and some of the air before it.
MARGIN = 8
# Slices of at least so many voxels a side are so fine that a chest wall is thicker than a table's shell.
FINE = 256
NEAR = 2  # voxels, or every other voxel, around the body that may still change: its skin, with its partial volume
IN_PLANE = ndimage.generate_binary_structure(2, 1)[None]
PIECE = 0.1  # of the largest piece: more than a table has

Box = tuple[slice, ...]  # first and last + 1 along each axis; the first may lie below 0 and the last beyond the volume


class Body(NamedTuple):
    """Where the patient lies in a scan (X, Y, Z).

    Args:
        boxes: of the body in each axial slice; None where a slice holds nothing of it.
        near: (Z, X', Y') whether the body, its holes filled, or ``NEAR`` voxels around it are there; all of a slice
            whose edge the body touches, because what it encloses isn't known there.
        step: voxels of the scan along X and Y for one of ``near``.
    """

    boxes: list[Box | None]
    near: np.ndarray
    step: int

    def inside(self, span: slice, sides: Sequence[int]) -> torch.Tensor:
        """``near`` in some slices of X x Y voxels, ``sides``: (n, X, Y), boolean."""
        fine = self.near[span].repeat(self.step, axis=1).repeat(self.step, axis=2)
        return torch.from_numpy(fine[:, : sides[0], : sides[1]])


def find_body(ncct_hu: torch.Tensor) -> Body:
    """Find the body in a scan (X, Y, Z) in HU.

    It is the largest connected piece of tissue, and every other that isn't much smaller. In slices that are fine
    enough thin things (a table's shell, clothes, tubes) are taken away first, and a few voxels with them, fewer than
    ``MARGIN``. A scan without tissue is all body.
    """
    # Every other voxel of a fine slice: a box needs no more, and finding it takes a quarter of the time.
    step = 2 if min(ncct_hu.shape[:2]) >= FINE else 1
    tissue = (ncct_hu[::step, ::step] > LUNG_UPPER_HU).permute(2, 0, 1).cpu().contiguous().numpy()
    if step > 1:
        tissue = ndimage.binary_opening(tissue, IN_PLANE)
    if not tissue.any():
        whole: Box = tuple(slice(0, size) for size in ncct_hu.shape[:2])
        return Body([whole] * ncct_hu.shape[2], np.ones_like(tissue), step)
    pieces = _large_pieces(tissue)
    places = [ndimage.find_objects(one.view(np.uint8)) for one in pieces]
    boxes = [
        tuple(slice(step * side.start, step * side.stop) for side in found[0]) if found else None for found in places
    ]
    return Body(boxes, _with_holes_and_skin(pieces), step)


def _with_holes_and_skin(pieces: np.ndarray) -> np.ndarray:
    """``Body.near`` of a mask (Z, X, Y)."""
    near = ndimage.binary_dilation(pieces, IN_PLANE, iterations=NEAR)
    for one, piece in zip(near, pieces, strict=True):
        if piece[[0, -1]].any() or piece[:, [0, -1]].any():
            one[:] = True
        else:
            ndimage.binary_fill_holes(one, output=one)
    return near


def _large_pieces(tissue: np.ndarray) -> np.ndarray:
    """The largest connected piece of a mask (Z, X, Y), and those of ``PIECE`` of its voxels."""
    joined = tissue.copy()
    for z in range(1, len(joined)):
        if not joined[z].any():  # a slice that is missing or damaged doesn't cut a body in two
            joined[z] = joined[z - 1]
    labels, _ = ndimage.label(joined)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes >= PIECE * sizes.max())[labels] & tissue


def body_box(boxes: Sequence[Box | None]) -> Box:
    """The smallest box (X, Y, Z) around the boxes of a scan's slices (``Body``)."""
    found = [box for box in boxes if box is not None]
    occupied = [z for z, box in enumerate(boxes) if box is not None]
    in_plane = [
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*found, strict=True)
    ]
    return (*in_plane, slice(occupied[0], occupied[-1] + 1))


def within(seen: Box, box: Box, least: Sequence[int], multiple: int) -> Box:
    """The part of ``seen`` that a network sees of a slice whose body fills ``box``: it need not see all of the air.

    It starts some ``multiple`` after ``seen`` does and is a multiple long, so that strided convolutions fall on the
    same voxels in every slice, and slices that follow each other mostly have the same.

    Args:
        seen: what the network may see: the body's box in the whole scan, ``widened`` (X, Y, ...).
        box: the body's in the slice.
        least: the sizes along X and Y that it has at least.
        multiple: of the sizes.
    """
    sides = []
    for whole, side, smallest in zip(seen, box, least, strict=False):
        start = whole.start + (side.start - MARGIN - whole.start) // multiple * multiple
        size = max(side.stop + MARGIN - start, smallest)
        size += -size % multiple
        start = max(whole.start, min(start, whole.start + (whole.stop - whole.start - size) // multiple * multiple))
        sides.append(slice(start, min(start + size, whole.stop)))
    return tuple(sides)


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
