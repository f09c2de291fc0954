from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import MultiScaleSSIMMetric
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from ncct_cta.common.hu import HUWindow
from ncct_cta.metrics import slabs
from ncct_cta.metrics.ranges import SYNTHRAD_RANGE, range_name
from ncct_cta.metrics.similarity import (
    LEAST_SIDE_MS_SSIM,
    SCALE_WEIGHTS,
    ms_ssim,
    ssim_means,
)

NARROW = HUWindow(-1000, 600)
WINDOWS = pytest.mark.parametrize("window", [SYNTHRAD_RANGE, NARROW], ids=range_name)


def pair(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image, and a smooth one that leaves the narrow window at both ends."""
    random = np.random.default_rng(0)
    cta = gaussian_filter(random.normal(0, 20000, shape), 4).astype(np.int16)
    assert cta.min() < -1000
    assert cta.max() > 600
    return cta + random.normal(0, 60, shape).astype(np.int16), cta


def from_zero(image: np.ndarray, window: HUWindow) -> np.ndarray:
    return image.astype(np.float64).clip(window.lower, window.upper) - window.lower


@WINDOWS
def test_ssim_is_scikit_images_of_the_whole_volume(window: HUWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "SLAB_SLICES", 7)  # 23 slices: the last slab has two
    prediction, cta = pair((30, 29, 23))
    random = np.random.default_rng(1)
    masks = {name: random.random(cta.shape) < share for name, share in (("few", 0.1), ("many", 0.7))}
    _, ssim = structural_similarity(
        *(from_zero(image, window) for image in (prediction, cta)),
        data_range=window.upper - window.lower,
        gaussian_weights=True,
        use_sample_covariance=False,
        sigma=1.5,
        full=True,
    )
    means = ssim_means(prediction, cta, masks, window)
    assert means == pytest.approx({name: ssim[mask].mean() for name, mask in masks.items()}, abs=1e-5)


@WINDOWS
def test_ms_ssim_is_monais_of_the_slices(window: HUWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slabs, "SLAB_SLICES", 2)
    prediction, cta = pair((LEAST_SIDE_MS_SSIM + 14, LEAST_SIDE_MS_SSIM, 3))
    metric = MultiScaleSSIMMetric(
        spatial_dims=2,
        data_range=window.upper - window.lower,
        kernel_size=11,
        kernel_sigma=1.5,
        weights=SCALE_WEIGHTS,
    )
    slices = (np.moveaxis(from_zero(image, window), -1, 0)[:, None] for image in (prediction, cta))
    metric(*(torch.from_numpy(np.ascontiguousarray(image)) for image in slices))
    assert ms_ssim(prediction, cta, window) == pytest.approx(float(metric.aggregate()), abs=1e-5)


def test_threads_change_no_figure() -> None:
    prediction, cta = pair((LEAST_SIDE_MS_SSIM, LEAST_SIDE_MS_SSIM, 40))
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append((ssim_means(prediction, cta, {"all": cta < 1e4}, NARROW), ms_ssim(prediction, cta, NARROW)))
    torch.set_num_threads(1)
    assert found[0] == found[1]


def test_images_too_small_for_the_windows_have_no_similarity() -> None:
    prediction, cta = pair((40, 40, 24))
    everywhere = np.ones((40, 40, 10), bool)
    assert math.isnan(ssim_means(prediction[..., :10], cta[..., :10], {"all": everywhere}, NARROW)["all"])
    assert math.isnan(ms_ssim(prediction, cta, NARROW))


def test_an_empty_mask_has_no_ssim_and_the_others_have() -> None:
    prediction, cta = pair((20, 20, 12))
    means = ssim_means(prediction, cta, {"none": np.zeros(cta.shape, bool), "all": np.ones(cta.shape, bool)}, NARROW)
    assert math.isnan(means["none"])
    assert 0 < means["all"] < 1


def test_the_name_of_a_range_states_it() -> None:
    assert range_name(SYNTHRAD_RANGE) == "range4095"
    assert range_name(NARROW) == "window_-1000_600"
    assert range_name(HUWindow(-160, 240)) != range_name(HUWindow(-200, 200))
