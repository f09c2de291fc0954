"""The level of blood follows where contrast flows, and not the scan's noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ncct_cta.prepare.virtual.local import local_mean
from ncct_cta.prepare.virtual.mixing import GUIDES_MM, _noise_of_mean, blood_level

SPACING = (1.0, 1.0, 1.5)
NOISE_HU = 20.0


@pytest.fixture(scope="module")
def core() -> np.ndarray:
    """The inside of a heart, as large as a fist."""
    x, y, z = np.ogrid[:60, :60, :40]
    return (x - 29.5) ** 2 + (y - 29.5) ** 2 + (1.5 * (z - 19.5)) ** 2 < 24**2


def scan(blood_hu: np.ndarray | float, core: np.ndarray) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(core.shape), 0.7)
    return np.where(core, blood_hu, 50.0).astype(np.float32) + np.float32(NOISE_HU / noise.std()) * noise.astype("f4")


def test_left_and_right_heart_keep_their_levels_side_by_side(core: np.ndarray) -> None:
    x = np.arange(60)[:, None, None]
    true = np.broadcast_to(np.where(x < 30, 300.0, 450.0), core.shape)
    hu = scan(true, core)
    near_border = (core & (abs(x - 29.5) < 3))[core]
    found, plain = blood_level(hu, core, core, SPACING), local_mean(hu, core, SPACING, (5.0,), np.nan, core)
    error, of_mean = (np.abs(level - true[core])[near_border].mean() for level in (found, plain))
    assert error < 12
    assert of_mean > 4 * error


def test_the_noise_is_not_followed(core: np.ndarray) -> None:
    level = blood_level(scan(350.0, core), core, core, SPACING)
    assert level.dtype == np.float32
    assert np.abs(level - 350).max() < NOISE_HU
    assert level.std() < NOISE_HU / 5


def test_a_slope_is_followed(core: np.ndarray) -> None:
    true = np.broadcast_to(np.linspace(250, 490, 60)[:, None, None], core.shape)
    level = blood_level(scan(true, core), core, core, SPACING)
    assert np.abs(level - true[core])[ndimage.binary_erosion(core, iterations=6)[core]].mean() < 6


def test_a_wall_has_the_level_beside_it_and_what_is_far_none(core: np.ndarray) -> None:
    where = core | ndimage.binary_dilation(core, iterations=2)
    where[0, 0, 0] = True
    level = blood_level(scan(350.0, core), core, where, SPACING)
    assert level.shape == (where.sum(),)
    assert np.isnan(level[0])
    assert np.abs(level[1:][~core[where][1:]] - 350).max() < 2 * NOISE_HU


def test_without_large_vessels_there_is_no_level(core: np.ndarray) -> None:
    assert np.isnan(blood_level(scan(350.0, core), np.zeros_like(core), core, SPACING)).all()


@pytest.mark.parametrize(("noise_hu", "narrow"), [(5.0, True), (40.0, False)])
def test_the_first_estimate_is_as_narrow_as_the_noise_allows(
    noise_hu: float, narrow: bool, core: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths = []

    def noted(hu: np.ndarray, mask: np.ndarray, spacing: tuple[float, ...], sigmas: tuple[float, ...], *rest: object):
        widths.append(sigmas[0])
        return local_mean(hu, mask, spacing, sigmas, *rest)

    monkeypatch.setattr("ncct_cta.prepare.virtual.mixing.local_mean", noted)
    hu = 350 + np.random.default_rng(0).normal(0, noise_hu, core.shape).astype(np.float32)
    blood_level(hu, core, core, SPACING)
    assert widths == list(GUIDES_MM[:1] if narrow else GUIDES_MM)


def test_the_noise_of_a_mean_is_that_of_a_filtered_image() -> None:
    white = np.random.default_rng(0).normal(0, NOISE_HU, (80, 80, 60))
    sigma = np.divide(2.0, SPACING)
    expected = ndimage.gaussian_filter(white, sigma).std()
    assert _noise_of_mean(white, 2.0, SPACING) == pytest.approx(expected, rel=0.05)
