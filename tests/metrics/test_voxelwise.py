from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

from ncct_cta.common.hu import HUWindow
from ncct_cta.metrics.ranges import SYNTHRAD_RANGE
from ncct_cta.metrics.voxelwise import error_scores, psnr

NARROW = HUWindow(-1000, 600)


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    cta = random.integers(-1000, 1000, (12, 11, 10)).astype(np.int16)
    return cta + random.integers(-50, 90, cta.shape).astype(np.int16), cta, random.random(cta.shape) < 0.4


def test_errors_are_those_of_numpy(images) -> None:
    prediction, cta, mask = images
    difference = prediction[mask].astype(float) - cta[mask]
    assert error_scores(prediction, cta, mask) == pytest.approx(
        {
            "mae_hu": np.abs(difference).mean(),
            "rmse_hu": math.sqrt(mean_squared_error(prediction[mask].astype(float), cta[mask].astype(float))),
            "bias_hu": difference.mean(),
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("window", [SYNTHRAD_RANGE, NARROW])
def test_psnr_is_scikit_images_of_the_clipped_images(images, window: HUWindow) -> None:
    prediction, cta, mask = images
    clipped = [image[mask].astype(float).clip(window.lower, window.upper) for image in (cta, prediction)]
    expected = peak_signal_noise_ratio(*clipped, data_range=window.upper - window.lower)
    assert psnr(prediction, cta, mask, window) == pytest.approx(expected, abs=1e-5)


def test_psnr_does_not_count_what_the_range_clips() -> None:
    mask = np.ones((2, 2, 2), bool)
    cta = np.full(mask.shape, 700, np.int16)
    assert psnr(cta + np.int16(500), cta, mask, NARROW) == math.inf
    assert psnr(cta + np.int16(500), cta, mask, SYNTHRAD_RANGE) == pytest.approx(20 * math.log10(4095 / 500))


def test_an_empty_region_has_no_scores(images) -> None:
    prediction, cta, mask = images
    nothing = np.zeros_like(mask)
    assert all(map(math.isnan, error_scores(prediction, cta, nothing).values()))
    assert math.isnan(psnr(prediction, cta, nothing, NARROW))
