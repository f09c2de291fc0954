"""Work on a volume slab by slab: it limits the memory, uses the cores, and changes no result."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

SLAB_SLICES, MOST_THREADS = 32, 8  # thinner slabs filter more slices twice, thicker ones take more memory

T = TypeVar("T")


def of_slabs(work: Callable[[slice], T], depth: int) -> list[T]:
    """Return the results of ``work`` for each slab of axial slices, in order.

    In parallel threads: NumPy and SciPy release the GIL while they compute. PyTorch's thread count sets how many.
    """
    slabs = [slice(start, min(start + SLAB_SLICES, depth)) for start in range(0, depth, SLAB_SLICES)]
    with ThreadPoolExecutor(min(MOST_THREADS, torch.get_num_threads())) as pool:
        return list(pool.map(work, slabs))


def with_halo(part: slice, halo: int, depth: int) -> tuple[slice, slice]:
    """A slab with the slices that its filters reach into, and the slab within these."""
    first, last = max(0, part.start - halo), min(depth, part.stop + halo)
    return slice(first, last), slice(part.start - first, part.stop - first)
