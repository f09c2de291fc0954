from __future__ import annotations

import math

import numpy as np
import pytest

from ncct_cta.metrics.enhancement import contrast_to_noise_ratio, enhancement_recovery_spread

MM = (1.0, 1.0, 1.0)


def test_contrast_to_noise_is_the_contrast_over_the_tissues_sd() -> None:
    image = np.array([300, 320, 40, 60, 999], np.int16)
    vessel, beside = np.array([1, 1, 0, 0, 0], bool), np.array([0, 0, 1, 1, 0], bool)
    assert contrast_to_noise_ratio(image, vessel, beside) == pytest.approx((310 - 50) / 10)
    assert math.isnan(contrast_to_noise_ratio(image, vessel, np.zeros(5, bool)))
    assert math.isnan(contrast_to_noise_ratio(image, np.zeros(5, bool), beside))
    assert math.isnan(contrast_to_noise_ratio(np.zeros(5, np.int16), vessel, beside))


def test_the_spread_of_the_recovery_is_its_sd_over_cubes() -> None:
    vessel = np.zeros((40, 20, 20), bool)
    vessel[:, 5:15, 5:15] = True  # two cubes of 20 mm, with as many voxels
    ncct = np.zeros(vessel.shape, np.int16)
    cta = np.where(vessel, 300, 0)
    uneven = np.where(np.arange(40)[:, None, None] < 20, 0.4, 1.0) * cta
    assert enhancement_recovery_spread(uneven, ncct, cta, vessel, MM) == pytest.approx(0.3)
    assert enhancement_recovery_spread(0.7 * cta, ncct, cta, vessel, MM) == pytest.approx(0)
    # Voxels of 2 mm: four cubes along the first axis, two of each kind.
    assert enhancement_recovery_spread(uneven, ncct, cta, vessel, (2, 1, 1)) == pytest.approx(0.3)
    assert math.isnan(enhancement_recovery_spread(uneven, ncct, cta, vessel, (0.5, 1, 1)))  # one cube
    assert math.isnan(enhancement_recovery_spread(uneven, ncct, cta, np.zeros_like(vessel), MM))


def test_cubes_that_hardly_enhance_have_no_recovery() -> None:
    vessel = np.ones((60, 20, 20), bool)
    ncct = np.zeros(vessel.shape, np.int16)
    cta = np.full(vessel.shape, 300)
    cta[40:] = 1
    prediction = np.where(cta == 1, 200, cta)  # 200 times the true enhancement, of no weight
    assert enhancement_recovery_spread(prediction, ncct, cta, vessel, MM) == 0
