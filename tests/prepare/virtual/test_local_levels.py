"""Local means on coarser grids, and what making a pair takes from a scan's own levels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ncct_cta.prepare.virtual.blood import MIXING_MM, FoundBlood, _too_bright
from ncct_cta.prepare.virtual.level import BloodLevel
from ncct_cta.prepare.virtual.local import dilated, eroded, local_mean, smoothed
from ncct_cta.prepare.virtual.making import LESS_ALIKE, _filled
from ncct_cta.prepare.virtual.noise import ScanNoise
from ncct_cta.prepare.virtual.organs import EDGE_MM, find_organs, take_uptake
from ncct_cta.prepare.virtual.variety import VirtualSettings, draw, random_of

MM = (1.0, 1.0, 1.0)


def noise_image(shape: tuple[int, int, int] = (40, 44, 36)) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("sigma", [(0.7, 2.0, 0.0), (3.0, 3.0, 1.2)])
def test_smoothing_in_threads_is_scipys(sigma: tuple[float, float, float]) -> None:
    image = noise_image()
    np.testing.assert_array_equal(smoothed(image, sigma), ndimage.gaussian_filter(image, sigma, mode="nearest"))


def test_growing_is_a_boxs_maximum() -> None:
    mask = noise_image() > 2.5
    np.testing.assert_array_equal(dilated(mask, (1.0, 2.0, 5.0), 2.0), ndimage.maximum_filter(mask, (5, 3, 1)))
    assert eroded(np.ones_like(mask), MM, 3.0).all()


@pytest.mark.parametrize(
    ("mm", "size"), [(2.0, (5, 3, 1)), (3.0, (7, 5, 3)), (12.0, (25, 13, 5)), (60.0, (121, 61, 25))]
)
def test_growing_is_a_boxs_maximum_however_far(mm: float, size: tuple[int, int, int]) -> None:
    mask = np.random.default_rng(0).random((30, 20, 40)) < 0.001
    grown = ndimage.maximum_filter(mask, size, mode="constant")
    np.testing.assert_array_equal(dilated(mask, (1.0, 2.0, 5.0), mm), grown)
    np.testing.assert_array_equal(eroded(~mask, (1.0, 2.0, 5.0), mm), ~grown)


@pytest.mark.parametrize("sigma_mm", [1.0, 4.0, 9.0])
def test_a_mean_on_a_coarser_grid_is_that_on_the_fine_one(sigma_mm: float) -> None:
    hu, mask = noise_image() + np.linspace(0, 40, 40, dtype=np.float32)[:, None, None], noise_image() > -0.5
    share, sums = (ndimage.gaussian_filter(image.astype(np.float32), sigma_mm) for image in (mask, mask * hu))
    found = local_mean(hu, mask, MM, (sigma_mm,), 0.0)
    assert np.abs(found - sums / share)[8:-8, 8:-8, 8:-8].max() < 0.15 * hu.std()


def test_means_at_some_voxels_are_those_at_all() -> None:
    hu, mask = noise_image(), noise_image() > 0.5
    where = np.random.default_rng(1).random(hu.shape) < 0.1
    every, some = (local_mean(hu, mask, MM, (1.0, 5.0), 0.0, place) for place in (None, where))
    np.testing.assert_allclose(every[where], some, atol=1e-4)


@pytest.mark.parametrize(("missing_hu", "limited"), [(3.0, False), (9.0, True)])
def test_blood_gets_its_missing_noise_as_far_as_it_stays_like_the_cta(missing_hu: float, limited: bool) -> None:
    blood, strength, fresh = np.ones((4, 4, 4), bool), 13.0, 0.5
    images = (np.full(blood.shape, value, np.float16) for value in (strength, missing_hu))
    share = _filled(ScanNoise(*images, np.ones((1, 1)), np.ones(1)), blood, fresh)
    own = strength**2 - missing_hu**2
    inside = 1 / np.sqrt(1 + ((share * missing_hu) ** 2 + (fresh * strength) ** 2) / own)
    outside = 1 / np.sqrt(1 + fresh**2)
    if limited:
        assert share < 1
        assert outside - inside == pytest.approx(LESS_ALIKE, abs=0.01)
    else:
        assert share == 1
        assert outside - inside < LESS_ALIKE


def test_a_ventricles_wall_loses_its_uptake_up_to_the_blood() -> None:
    """A slab: muscle at 50 HU, 10 mm of myocardium at 120, blood at 400."""
    hu = np.full((60, 40, 40), 50.0, np.float32)
    hu[20:30], hu[30:] = 120, 400
    nothing = np.zeros(hu.shape, bool)
    blood = hu > 300
    even = ~dilated(blood, MM, EDGE_MM)
    organs = find_organs(hu, even, 50.0, 400.0, MM)
    assert organs[24:27, 10:30, 10:30].all()
    assert not organs[:15].any()
    found = FoundBlood(blood, 400.0, nothing, ~nothing, nothing, nothing, nothing)
    take_uptake(hu, organs, even, ~even & ~blood, found, MM, muscle_hu=50.0, share=1.0)
    assert np.abs(hu[22:27, 10:30, 10:30] - 50).max() < 10
    assert hu[28, 20, 20] < 90
    assert (hu[30:] == 400).all()


def test_specks_in_the_midst_of_blood_are_unmixed_contrast_and_others_calcium() -> None:
    level = BloodLevel(300.0, 60.0, 320.0)
    blood = np.zeros((40, 40, 40), bool)
    blood[5:30, 5:35, 5:35] = True
    hu = np.where(blood, 300, 0).astype(np.float32)
    hu[15:17, 15:17, 15:17] = level.densest + 40  # unmixed
    hu[15:17, 25:27, 15:17] = 1200  # a valve's calcium
    hu[35:37, 15:17, 15:17] = level.densest + 40  # outside
    calcium, dense = _too_bright(hu, MM, np.ones_like(blood), blood, level)
    assert MIXING_MM > 2
    assert dense[15, 15, 15]
    assert calcium[15, 25, 15]
    assert calcium[35, 15, 15]


def test_blood_is_drawn_no_further_from_muscle_than_is_asked_for() -> None:
    levels = [draw(VirtualSettings(), random_of(0, str(n)), 50.0, 2.5).blood_hu for n in range(40)]
    assert 47.5 <= min(levels) < max(levels) <= 52.5
