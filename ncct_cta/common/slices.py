"""Which slices a network sees beside the one it predicts, and which of a case are validated."""

from __future__ import annotations

import math


def neighbours(z: int, in_slices: int, first: int, last: int) -> list[int]:
    """``z - r, ..., z, ..., z + r`` with ``r = in_slices // 2``; the first and the last slice are repeated beyond them.

    Neighbouring slices as channels of a 2-D network ("2.5-D"), as in Roth et al., A New 2.5D Representation for Lymph
    Node Detection, MICCAI 2014.

    Args:
        z: the slice in the middle.
        in_slices: how many, an odd number.
        first: the first slice there is.
        last: the last one.
    """
    reach = in_slices // 2
    return [min(max(near, first), last) for near in range(z - reach, z + reach + 1)]


def evenly_spaced(depth: int, wanted: int, thickness: int) -> list[slice]:
    """Slabs of about ``wanted`` of ``depth`` slices, each ``thickness`` deep; one of all slices if these are as few."""
    count = math.ceil(wanted / thickness)
    if count * thickness >= depth:
        return [slice(0, depth)]
    # Each in the middle of its part of the volume.
    starts = [round((number + 0.5) * depth / count - thickness / 2) for number in range(count)]
    return [slice(start, start + thickness) for start in starts]
