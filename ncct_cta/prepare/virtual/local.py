"""Local levels of a tissue, by normalised convolution: the mean of a mask's voxels around each voxel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import ndimage

from ...metrics.slabs import of_slabs

# A Gaussian's share of the mask below this says nothing about the voxel: the next wider one is asked.
LEAST_SHARE = 0.01
TRUNCATE = 3.0
STEP_SIGMAS = 1.25  # a Gaussian is sampled at least this often per standard deviation
CHUNK = 1 << 20  # voxels that are looked up at a time


def local_means(
    images: Sequence[np.ndarray],
    mask: np.ndarray,
    spacing: Sequence[float],
    sigmas_mm: Sequence[float],
    defaults: Sequence[float],
    where: np.ndarray | None = None,
) -> list[np.ndarray]:
    """``G * (mask image) / G * mask``, Gaussian weights, the narrowest that see enough of the mask.

    Knutsson and Westin, "Normalized and differential convolution", CVPR 1993.

    Args:
        images: (X, Y, Z), of one and the same mask.
        mask: the voxels that count, bool.
        spacing: voxel edges in mm.
        sigmas_mm: standard deviations of the Gaussians, ascending.
        defaults: of each image, where even the widest sees too little of the mask.
        where: the voxels that are asked for, bool; None: all.

    Returns:
        float32, (X, Y, Z), or (N,) at the N voxels of ``where``.
    """
    voxels = None if where is None else np.flatnonzero(where)
    shape = mask.shape if voxels is None else voxels.shape
    means = [np.full(shape, default, np.float32) for default in defaults]
    unknown = np.ones(shape, bool)
    for sigma_mm in sigmas_mm:
        sigma = np.divide(sigma_mm, spacing)
        steps = [max(1, int(width / STEP_SIGMAS)) for width in sigma]

        def seen(image: np.ndarray, sigma: np.ndarray = sigma, steps: Sequence[int] = steps) -> np.ndarray:
            coarse = smoothed(block_mean(image, steps), np.divide(sigma, steps), TRUNCATE, overwrite=True)
            return _looked_up(coarse, steps, mask.shape, voxels)

        share = seen(mask.astype(np.float32))
        found = unknown & (share > LEAST_SHARE)
        for mean, image in zip(means, images, strict=True):
            mean[found] = seen(np.where(mask, image, np.float32(0)))[found] / share[found]
        unknown &= ~found
        if not unknown.any():
            break
    return means


def local_mean(
    hu: np.ndarray,
    mask: np.ndarray,
    spacing: Sequence[float],
    sigmas_mm: Sequence[float],
    default: float,
    where: np.ndarray | None = None,
) -> np.ndarray:
    """``local_means`` of one image."""
    return local_means([hu], mask, spacing, sigmas_mm, [default], where)[0]


def smoothed(
    image: np.ndarray, sigma: Sequence[float] | np.ndarray, truncate: float = 4.0, *, overwrite: bool = False
) -> np.ndarray:
    """``ndimage.gaussian_filter`` in float32 and in parallel threads, if wanted in place; sigma in voxels."""
    result: np.ndarray = image.astype(np.float32, copy=not overwrite)
    for axis, width in enumerate(sigma):
        if width > 0:
            _along(lambda part, axis=axis, width=width: ndimage.gaussian_filter1d(  # type: ignore[misc]
                part, width, axis, output=part, mode="nearest", truncate=truncate
            ), result, axis)  # fmt: skip
    return result


def dilated(mask: np.ndarray, spacing: Sequence[float], mm: float) -> np.ndarray:
    """A mask grown by ``mm`` along the axes, and by at least one voxel in the slice's plane.

    A box's maximum: a distance transform takes a minute for a whole chest.
    """
    grown: np.ndarray = mask.astype(bool)
    for axis, edge in enumerate(spacing):
        reach = max(round(mm / edge), 1 if axis < 2 else 0)
        if reach:
            _along(lambda part, axis=axis, reach=reach: _widen(part, reach, axis), grown, axis)  # type: ignore[misc]
    return grown


def _widen(mask: np.ndarray, reach: int, axis: int) -> None:
    """A running maximum in place, its window doubled at each step: SciPy's takes twice as long on booleans."""
    beyond = [(0, 0)] * 3
    beyond[axis] = (reach, reach)
    wide, window = np.moveaxis(np.pad(mask, beyond), axis, 0), 1
    while window <= 2 * reach:
        step = min(window, 2 * reach + 1 - window)
        wide = wide[:-step] | wide[step:]
        window += step
    np.moveaxis(mask, axis, 0)[...] = wide


def eroded(mask: np.ndarray, spacing: Sequence[float], mm: float) -> np.ndarray:
    """A mask shrunk by ``mm``, as ``dilated`` grows; the image's edge doesn't shrink it."""
    return ~dilated(~mask, spacing, mm)


def _along(work: Callable[[np.ndarray], object], array: np.ndarray, axis: int) -> None:
    """Filter an array along an axis, in place, slab by slab of another one."""
    across = 0 if axis == 2 else 2
    of_slabs(lambda part: work(array[(slice(None),) * across + (part,)]), array.shape[across])


def block_mean(image: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Sums over blocks of ``steps`` voxels by their volume: a wide Gaussian on all voxels takes a minute."""
    for axis, step in enumerate(steps):
        if step > 1:
            every = [(slice(None),) * axis + (slice(offset, None, step),) for offset in range(step)]
            sums = image[every[0]].copy()
            for offset in every[1:]:
                more = image[offset]
                sums[(slice(None),) * axis + (slice(more.shape[axis]),)] += more
            image = sums / np.float32(step)
    return image


def _looked_up(coarse: np.ndarray, steps: Sequence[int], shape: Sequence[int], voxels: np.ndarray | None) -> np.ndarray:
    """A coarse image's values on the fine grid, linearly between its blocks' centres; see ``local_means``."""
    if voxels is None:
        for axis, (step, size) in enumerate(zip(steps, shape, strict=True)):
            coarse = coarse if step == 1 else _stretched(coarse, step, size, axis)
        return coarse
    if max(steps) == 1:
        return coarse.reshape(-1)[voxels]
    found = np.empty(voxels.shape, np.float32)
    for part in _chunks(len(voxels)):
        places = [
            (index + 0.5) / step - 0.5
            for index, step in zip(np.unravel_index(voxels[part], tuple(shape)), steps, strict=True)
        ]
        ndimage.map_coordinates(coarse, places, found[part], order=1, mode="nearest")
    return found


def _stretched(coarse: np.ndarray, step: int, size: int, axis: int) -> np.ndarray:
    place = ((np.arange(size) + 0.5) / step - 0.5).clip(0, coarse.shape[axis] - 1)
    below = place.astype(np.intp)
    share = np.expand_dims((place - below).astype(np.float32), [other for other in range(3) if other != axis])
    above = np.minimum(below + 1, coarse.shape[axis] - 1)
    stretched, towards = np.take(coarse, below, axis), np.take(coarse, above, axis)
    towards -= stretched  # in place: on a whole chest each copy is 0.3 GB
    towards *= share
    stretched += towards
    return stretched


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))
