from __future__ import annotations

import numpy as np
import pytest
import torch

from ncct_cta.common.errors import InputError
from ncct_cta.common.hu import HUWindow, to_int16_hu

WINDOW = HUWindow(-1000, 400)


@pytest.mark.parametrize(
    ("hu", "normalised"), [(-1000, -1.0), (400, 1.0), (-300, 0.0), (50, 0.5), (-3024, -1.0), (3071, 1.0)]
)
def test_the_window_is_scaled_to_minus_one_to_one_and_clipped(hu: int, normalised: float) -> None:
    assert WINDOW.normalise(np.array([hu], np.int16)) == pytest.approx(normalised)
    assert WINDOW.normalise(torch.tensor([hu], dtype=torch.int16)).item() == pytest.approx(normalised)


@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_integers_become_float32_and_floats_keep_their_type(dtype: type) -> None:
    assert WINDOW.normalise(np.zeros(3, dtype)).dtype == np.float32
    assert WINDOW.normalise(torch.from_numpy(np.zeros(3, dtype))).dtype == torch.float32
    assert WINDOW.normalise(np.zeros(3, np.float64)).dtype == np.float64
    assert WINDOW.normalise(torch.zeros(3, dtype=torch.float64)).dtype == torch.float64


def test_inside_the_window_hu_come_back() -> None:
    hu = np.arange(-1000, 401, dtype=np.int16)
    lower_end = np.full(hu.shape, -1000)
    assert np.array_equal(to_int16_hu(WINDOW.apply_change(lower_end, WINDOW.normalise(hu) + 1)), hu)


def test_a_change_is_added_in_hu_also_where_the_window_clips() -> None:
    ncct_hu = torch.tensor([-2048.0, 0.0, 3071.0])
    assert WINDOW.apply_change(ncct_hu, torch.tensor([0.0, 0.5, -0.1])).tolist() == [-2048.0, 350.0, 3001.0]


def test_the_contrast_gain_makes_a_difference_of_100_hu_one() -> None:
    window = HUWindow(-1000, 600)
    hu = np.array([0.0, 100.0])
    assert np.diff(window.normalise(hu))[0] * window.contrast_gain == pytest.approx(1)


@pytest.mark.parametrize(("lower", "upper"), [(400, -1000), (0, 0), (0, float("nan"))])
def test_a_window_without_width_is_refused(lower: float, upper: float) -> None:
    with pytest.raises(ValueError, match="must be above"):
        HUWindow(lower, upper)


def test_int16_is_rounded_and_clipped_not_cut_or_wrapped() -> None:
    hu = np.array([-0.6, 0.6, 99.4, 40000.0, -40000.0])
    assert to_int16_hu(hu).tolist() == [-1, 1, 99, 32767, -32768]
    assert to_int16_hu(hu).dtype == np.int16


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_never_becomes_an_int16(value: float) -> None:
    with pytest.raises(InputError, match="1 of 3 values are NaN or infinite, expected HU"):
        to_int16_hu(np.array([40.0, value, -1000.0], np.float32))
