"""Structural similarity in a stated range: SSIM as a map in 3-D, MS-SSIM of axial slices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from monai.metrics import MultiScaleSSIMMetric
from skimage.metrics import structural_similarity

from ..hu import SYNTHRAD_RANGE_HU, HUWindow

# Wang et al., IEEE TIP 2004: a Gaussian of 1.5 voxels, cut off at 11 taps.
SIGMA, TAPS = 1.5, 11
# Wang, Simoncelli and Bovik, Asilomar 2003: weights of the five scales, each half as fine as the one before.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LEAST_SIDE_MS_SSIM = (TAPS - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
SLAB_SLICES = 16  # bounds the memory; changes no figure
SYNTHRAD_RANGE = HUWindow(*SYNTHRAD_RANGE_HU)


def range_name(window: HUWindow) -> str:
    """The end of a column's name that states the range of its PSNR or SSIM.

    SynthRAD's is named by its width, others by both ends: windows of one width give different figures.

    >>> range_name(SYNTHRAD_RANGE), range_name(HUWindow(-1000, 600))
    ('range4095', 'window_-1000_600')
    """
    if window == SYNTHRAD_RANGE:
        return f"range{window.upper - window.lower:g}"
    return f"window_{window.lower:g}_{window.upper:g}"


def ssim_means(
    prediction_hu: np.ndarray, cta_hu: np.ndarray, masks: dict[str, np.ndarray], window: HUWindow
) -> dict[str, float]:
    """Mean of the 3-D SSIM map over each mask, both images clipped to the range and shifted to begin at 0.

    SSIM of Wang et al. (IEEE TIP 2004) by scikit-image, with a Gaussian window of ``SIGMA`` voxels.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        cta_hu: the truth, same shape.
        masks: boolean, same shape, by name.
        window: the range.

    Returns:
        by the mask's name; NaN where it is empty or the volume is smaller than the Gaussian window.
    """
    counts = {name: int(np.count_nonzero(mask)) for name, mask in masks.items()}
    if min(cta_hu.shape) < TAPS:
        return dict.fromkeys(masks, float("nan"))
    sums = dict.fromkeys(masks, 0.0)
    for part, ssim in _ssim_slabs(prediction_hu, cta_hu, window):
        for name, mask in masks.items():
            sums[name] += float(ssim[mask[..., part]].sum(dtype=np.float64))
    return {name: sums[name] / count if count else float("nan") for name, count in counts.items()}


def _ssim_slabs(prediction_hu: np.ndarray, cta_hu: np.ndarray, window: HUWindow) -> Iterator[tuple[slice, np.ndarray]]:
    """The SSIM map slab by slab, each taken with the slices that its windows reach into."""
    depth = cta_hu.shape[2]
    for start in range(0, depth, SLAB_SLICES):
        stop = min(start + SLAB_SLICES, depth)
        first = max(0, min(start - TAPS // 2, depth - TAPS))
        last = min(depth, max(stop + TAPS // 2, TAPS))
        _, ssim = structural_similarity(
            *(_from_zero(image[..., first:last], window) for image in (prediction_hu, cta_hu)),
            data_range=window.upper - window.lower,
            gaussian_weights=True,
            sigma=SIGMA,
            use_sample_covariance=False,
            full=True,
        )
        yield slice(start, stop), ssim[..., start - first : stop - first]


def ms_ssim(prediction_hu: np.ndarray, cta_hu: np.ndarray, window: HUWindow) -> float:
    """Multi-scale SSIM: the mean over axial slices, both images clipped to the range and shifted to begin at 0.

    Wang, Simoncelli and Bovik (Asilomar 2003) by MONAI, of whole slices in 2-D: CT slices are often too thick to be
    halved four times.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        cta_hu: the truth, same shape.
        window: the range.

    Returns:
        NaN where slices are smaller than ``LEAST_SIDE_MS_SSIM`` voxels: the coarsest scale would not fill a window.
    """
    if min(cta_hu.shape[:2]) < LEAST_SIDE_MS_SSIM:
        return float("nan")
    metric = MultiScaleSSIMMetric(
        spatial_dims=2,
        data_range=window.upper - window.lower,
        kernel_size=TAPS,
        kernel_sigma=SIGMA,
        weights=SCALE_WEIGHTS,
    )
    for start in range(0, cta_hu.shape[2], SLAB_SLICES):
        part = slice(start, start + SLAB_SLICES)
        metric(*(_as_batch(_from_zero(image[..., part], window)) for image in (prediction_hu, cta_hu)))
    return float(torch.as_tensor(metric.aggregate()))


def _from_zero(image_hu: np.ndarray, window: HUWindow) -> np.ndarray:
    """Clip to the range and shift its lower end to 0, as SSIM's constants expect."""
    return image_hu.clip(window.lower, window.upper).astype(np.float32) - np.float32(window.lower)


def _as_batch(image: np.ndarray) -> torch.Tensor:
    """(X, Y, Z) to a batch of slices, (Z, 1, X, Y)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 0)))[:, None]
