"""Structural similarity in a stated range: SSIM as a map in 3-D, MS-SSIM of axial slices.

Both clip the two images to the range and shift its lower end to 0, as SSIM's constants expect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

from ..common.hu import HUWindow
from ..common.keys import BODY
from .case_images import SSIM_RADIUS, ComparedImages, cta_in_air, prediction_in_air
from .metric import Metric
from .slabs import of_slabs, with_halo

# Wang et al., IEEE TIP 2004: a Gaussian of 1.5 voxels, truncated at 11 taps, and the constants that stabilise the
# quotients.
SIGMA, TAPS = 1.5, 2 * SSIM_RADIUS + 1
K1, K2 = 0.01, 0.03
# Wang, Simoncelli and Bovik, Asilomar 2003: weights of the five scales, each half as fine as the one before.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LEAST_SIDE_MS_SSIM = TAPS * 2 ** (len(SCALE_WEIGHTS) - 1)


def ssim_means(
    prediction_hu: np.ndarray, cta_hu: np.ndarray, masks: Mapping[str, np.ndarray], window: HUWindow
) -> dict[str, float]:
    """Mean of the 3-D SSIM map over each mask.

    SSIM of Wang et al. (IEEE TIP 2004) with a Gaussian window of ``SIGMA`` voxels. Own code, because scikit-image's
    filters five images instead of four, and a slab of a volume with twice the memory; a test holds them together.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        cta_hu: the truth, same shape.
        masks: boolean, same shape, by name.
        window: the range.

    Returns:
        by mask name; NaN if the mask is empty or the volume is smaller than the Gaussian window.
    """
    if min(cta_hu.shape) < TAPS:
        return dict.fromkeys(masks, float("nan"))

    def sums(part: slice) -> np.ndarray:
        ssim = _ssim_map(prediction_hu, cta_hu, window, part)
        return np.array([ssim[mask[..., part]].sum(dtype=np.float64) for mask in masks.values()])

    totals = np.stack(of_slabs(sums, cta_hu.shape[2])).sum(axis=0)
    counts = [np.count_nonzero(mask) for mask in masks.values()]
    means = (total / count if count else float("nan") for total, count in zip(totals, counts, strict=True))
    return dict(zip(masks, map(float, means), strict=True))


def _ssim_map(prediction_hu: np.ndarray, cta_hu: np.ndarray, window: HUWindow, part: slice) -> np.ndarray:
    """The SSIM map of a slab, computed with the slices that its windows reach into."""
    wide, inner = with_halo(part, SSIM_RADIUS, cta_hu.shape[2])
    prediction, cta = (_from_zero(image[..., wide], window) for image in (prediction_hu, cta_hu))
    similarity, luminance = _similarity(prediction, cta, window, lambda image: _blurred(image, (SIGMA,) * 3))
    similarity *= luminance
    return similarity[..., inner]


def ms_ssim(prediction_hu: np.ndarray, cta_hu: np.ndarray, window: HUWindow) -> float:
    """Multi-scale SSIM of whole axial slices, and its mean over them.

    Wang, Simoncelli and Bovik (Asilomar 2003): the product over scales of ``contrast x structure`` to the scale's
    weight, and of the coarsest scale's SSIM. In 2-D, because CT slices are often too thick to be halved four times. Own
    code, because MONAI's takes its square window at once, which is several times as slow; a test holds them together.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        cta_hu: the truth, same shape.
        window: the range.

    Returns:
        NaN where slices are smaller than ``LEAST_SIDE_MS_SSIM`` voxels: the coarsest scale would not fill a window.
    """
    if min(cta_hu.shape[:2]) < LEAST_SIDE_MS_SSIM:
        return float("nan")

    def of_slab(part: slice) -> np.ndarray:
        prediction, cta = (_from_zero(image[..., part], window) for image in (prediction_hu, cta_hu))
        return _ms_ssim_of_slices(prediction, cta, window)

    return float(np.concatenate(of_slabs(of_slab, cta_hu.shape[2])).mean())


def _ms_ssim_of_slices(prediction: np.ndarray, cta: np.ndarray, window: HUWindow) -> np.ndarray:
    """MS-SSIM of each slice of (X, Y, n) images that begin at 0."""
    product = np.ones(cta.shape[2])
    for scale, weight in enumerate(SCALE_WEIGHTS):
        similarity, luminance = _similarity(prediction, cta, window, _blurred_inside)
        if scale == len(SCALE_WEIGHTS) - 1:
            similarity *= luminance
        # Anticorrelated images would raise a negative number to a fractional power.
        product *= np.maximum(similarity.mean(axis=(0, 1), dtype=np.float64), 0) ** weight
        prediction, cta = _halved(prediction), _halved(cta)
    return product


def _similarity(
    prediction: np.ndarray, cta: np.ndarray, window: HUWindow, blurred: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """``contrast x structure`` and ``luminance``; of the variances only the sum is needed, which saves a filter."""
    c1, c2 = ((k * (window.upper - window.lower)) ** 2 for k in (K1, K2))
    x, y, squares, xy = map(blurred, (prediction, cta, prediction**2 + cta**2, prediction * cta))
    means = x**2 + y**2
    similarity = (2 * (xy - x * y) + c2) / (squares - means + c2)
    return similarity, (2 * x * y + c1) / (means + c1)


def _blurred(image: np.ndarray, sigma: tuple[float, ...]) -> np.ndarray:
    return ndimage.gaussian_filter(image, sigma, radius=[SSIM_RADIUS if sd else 0 for sd in sigma])


def _blurred_inside(image: np.ndarray) -> np.ndarray:
    """Each slice blurred, where the Gaussian window lies inside it."""
    return _blurred(image, (SIGMA, SIGMA, 0))[SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS]


def _halved(image: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; an odd last one is dropped."""
    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _from_zero(image_hu: np.ndarray, window: HUWindow) -> np.ndarray:
    """Clip to the range and shift its lower end to 0."""
    return image_hu.clip(window.lower, window.upper).astype(np.float32) - np.float32(window.lower)


def _ssim(images: ComparedImages, *, region: str, window: HUWindow) -> float:
    return images.once(_ssim_by_region, window)[region]


def _ssim_by_region(images: ComparedImages, window: HUWindow) -> dict[str, float]:
    return ssim_means(images.once(prediction_in_air), images.case.once(cta_in_air), images.case.masks, window)


def _ms_ssim(images: ComparedImages, *, window: HUWindow) -> float:
    return ms_ssim(images.once(prediction_in_air), images.case.once(cta_in_air), window)


METRICS = (
    Metric(
        name="{region}_ssim_{range}",
        compute=_ssim,
        title="SSIM {range}, {region}",
        short="SSIM",
        unit="",
        limits=(-1, 1),
        better="higher",
        meaning="structural similarity, in the range given",
        missing=f"there are fewer than {TAPS} slices, or the body is as small",
    ),
    Metric(
        name="body_msssim_{range}",
        compute=_ms_ssim,
        title="MS-SSIM {range}, body's axial slices",
        short="MS-SSIM",
        unit="",
        limits=(0, 1),
        better="higher",
        meaning="structural similarity over several scales, in the range given",
        missing=f"the body is less than {LEAST_SIDE_MS_SSIM} voxels wide or deep",
        region=BODY,
    ),
)
