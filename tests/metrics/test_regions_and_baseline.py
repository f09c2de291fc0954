from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.draw import ellipse
from skimage.metrics import mean_squared_error

from ncct_cta.metrics import (
    HURemap,
    body_mask,
    enhancement_recovery,
    mean_absolute_error,
    regions,
    vessel_mask_from_pair,
)
from ncct_cta.metrics.detail import detail, detail_projection
from ncct_cta.phantom.cohort import PhantomCase, make_case


def thorax(slices: int = 6) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A body with two lungs on a table, (X, Y, Z) in HU, and where each of them lies."""
    shape = (90, 78, slices)
    parts = {name: np.zeros(shape, bool) for name in ("body", "lungs", "table")}
    parts["body"][ellipse(45, 48, 40, 26, shape=shape[:2])] = True
    for x in (27, 63):
        parts["lungs"][ellipse(x, 48, 10, 15, shape=shape[:2])] = True
    parts["table"][5:85, 4:12] = True  # thick enough to survive an opening
    hu = np.full(shape, -1000, np.int16)
    hu[parts["table"]] = 150
    hu[parts["body"]] = 40
    hu[parts["lungs"]] = -850
    return hu, parts


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(1, shape=(48, 48, 24), spacing=(7.0, 7.0, 10.5))


@pytest.fixture
def small() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    ncct = random.integers(-1000, 1500, (9, 8, 7)).astype(np.int16)
    cta = ncct + random.integers(-50, 400, ncct.shape).astype(np.int16)
    prediction = cta + random.integers(-90, 60, ncct.shape).astype(np.int16)
    return {"ncct": ncct, "cta": cta, "prediction": prediction, "vessel": random.random(ncct.shape) < 0.3}


def test_the_body_has_its_lungs_but_neither_table_nor_outside_air() -> None:
    hu, parts = thorax()
    body = body_mask(hu)
    assert body.dtype == bool
    assert (body & parts["lungs"]).sum() == parts["lungs"].sum()
    assert not (body & parts["table"]).any()
    # Opening rounds off pixels of the outline.
    assert (body ^ parts["body"]).sum() < 0.02 * parts["body"].sum()


@pytest.mark.parametrize("slices", [2, 3])
def test_the_body_is_found_in_thin_volumes_too(slices: int) -> None:
    hu, parts = thorax(slices)
    assert (body_mask(hu) ^ parts["body"]).sum() < 0.02 * parts["body"].sum()


def test_a_volume_of_air_has_no_body() -> None:
    assert not body_mask(np.full((10, 10, 4), -1000, np.int16)).any()


def test_the_phantoms_body_holds_its_lungs_and_vessels_but_not_the_air_around() -> None:
    case = make_case(1)
    body = body_mask(case.ncct)
    assert body[case.lung > 0].mean() > 0.999
    assert body[case.vessel > 0].mean() > 0.999
    assert not body[[0, -1]].any()
    assert 0.4 < body.mean() < 0.55


@pytest.mark.parametrize("spacing", [0.7, 1.4, 3.5, 7.0])
def test_a_chest_wall_of_14_mm_belongs_to_the_body_and_a_table_of_2_mm_does_not(spacing: float) -> None:
    x, y = (np.arange(0, 400, spacing) - 200 for _ in range(2))
    x, y = x[:, None], y[None]
    hu = np.full((x.size, y.size, 4), -1000)
    hu[(x / 160) ** 2 + (y / 110) ** 2 < 1] = 40
    wall = 14
    lungs = (x / (160 - wall)) ** 2 + (y / (110 - wall)) ** 2 < 1
    hu[lungs & (abs(x) > 20)] = -850
    thickness = max(2, spacing)  # at least a voxel
    hu[:, (abs(y - 130) <= thickness / 2)[0]] = 100  # not touching
    body = body_mask(hu, (spacing, spacing, 5.0))
    truth = np.broadcast_to(((x / 160) ** 2 + (y / 110) ** 2 < 1)[..., None], hu.shape)
    assert not body[:, (y > 120)[0]].any()
    assert (body ^ truth).sum() < 0.02 * truth.sum()


def test_a_thin_table_that_touches_the_body_is_cut_off() -> None:
    hu, _ = thorax()
    hu[5:85, 20:24] = 100
    assert not body_mask(hu, (1.0, 1.0, 1.0))[5:25, 20:22].any()
    assert body_mask(hu, (7.0, 7.0, 7.0))[5:25, 20:22].all()  # 14 mm there: a part of the patient


def test_vessels_are_what_enhances_but_not_bone_nor_specks() -> None:
    ncct = np.full((12, 12, 6), 40, np.int16)
    cta = ncct.copy()
    cta[2:6, 2:6, 1:5] = 300  # a vessel
    cta[8:11, 8:11, 1:5], ncct[8:11, 8:11, 1:5] = 700, 500  # bone, moved a little
    cta[2:5, 8:11, 1:5] = 100  # enhances by less than 80 HU
    cta[0, 11, 0] = 300  # noise
    mask = vessel_mask_from_pair(ncct, cta)
    assert mask.dtype == np.uint8
    assert mask[3:5, 3:5, 2:4].all()
    mask[2:6, 2:6, 1:5] = 0
    assert not mask.any()


def test_a_thin_vessel_is_kept_and_a_misaligned_edge_is_not() -> None:
    ncct = np.full((24, 24, 24), -850, np.int16)
    ncct[:, :8] = 40  # a diaphragm
    cta = ncct.copy()
    cta[:, 8] = 40  # that lies one voxel higher
    cta[12, 16, :] = 0  # a vessel of one voxel
    mask = vessel_mask_from_pair(ncct, cta)
    assert mask[12, 16].all()
    assert not mask[:, 8].any()


def test_vessels_are_found_though_int16_differences_would_overflow() -> None:
    ncct, cta = np.full((6, 6, 6), -30000, np.int16), np.full((6, 6, 6), 30000, np.int16)
    assert vessel_mask_from_pair(ncct, cta)[3, 3, 3] == 1


def test_regions_hold_the_given_masks_and_split_the_body() -> None:
    hu, parts = thorax()
    vessel = np.zeros(hu.shape, np.uint8)
    vessel[43:47, 44:48, 1:3] = 1
    found = regions(hu, parts["lungs"].astype(np.uint8) * 255, vessel)
    assert set(found) == {"body", "lung", "vessel", "nonvessel"}
    assert np.array_equal(found["lung"], parts["lungs"])
    assert np.array_equal(found["vessel"], vessel > 0)
    assert np.array_equal(found["vessel"] | found["nonvessel"], found["body"])
    assert not (found["vessel"] & found["nonvessel"]).any()


def test_masks_outside_the_found_body_belong_to_the_body() -> None:
    air, mask = np.full((8, 8, 4), -1000, np.int16), np.zeros((8, 8, 4), np.uint8)
    mask[3, 3, 2] = 1
    assert regions(air, mask, np.zeros_like(mask))["body"].sum() == 1


def test_mean_absolute_error_is_numpys(small: dict[str, np.ndarray]) -> None:
    expected = np.average(np.abs(small["prediction"].astype(float) - small["cta"]), weights=small["vessel"])
    assert mean_absolute_error(small["prediction"], small["cta"], small["vessel"]) == pytest.approx(expected, rel=1e-6)


def test_mean_absolute_error_does_not_overflow_int16() -> None:
    low, high = np.full((2, 2, 2), -32768, np.int16), np.full((2, 2, 2), 32767, np.int16)
    assert mean_absolute_error(low, high, low < 0) == 65535


def test_an_empty_region_has_no_error(small: dict[str, np.ndarray]) -> None:
    nothing = np.zeros(small["cta"].shape, bool)
    assert np.isnan(mean_absolute_error(small["prediction"], small["cta"], nothing))
    assert np.isnan(enhancement_recovery(small["prediction"], small["ncct"], small["cta"], nothing))


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0, -0.5])
def test_enhancement_recovery_is_the_share_of_the_enhancement(small: dict[str, np.ndarray], share: float) -> None:
    ncct, cta, vessel = small["ncct"].astype(float), small["cta"].astype(float), small["vessel"]
    assert enhancement_recovery(ncct + share * (cta - ncct), ncct, cta, vessel) == pytest.approx(share, abs=1e-9)


def test_enhancement_recovery_looks_at_vessels_only(small: dict[str, np.ndarray]) -> None:
    prediction = np.where(small["vessel"], small["cta"], 0)
    assert enhancement_recovery(prediction, small["ncct"], small["cta"], small["vessel"]) == pytest.approx(1)


def test_a_cta_without_enhancement_has_no_recovery(small: dict[str, np.ndarray]) -> None:
    ncct = small["ncct"]
    assert np.isnan(enhancement_recovery(small["prediction"], ncct, ncct, small["vessel"]))


def test_detail_falls_with_blurring(case: PhantomCase) -> None:
    vessels = (case.lung > 0) & (case.vessel > 0)
    blurred, cta = (detail(image, vessels) for image in (gaussian_filter(case.cta.astype(float), (1, 1, 0)), case.cta))
    assert 0 < detail_projection(blurred, cta) < 0.7


def test_detail_follows_the_contrast(small: dict[str, np.ndarray]) -> None:
    cta = small["cta"].astype(float)
    half, whole, none = (detail(share * cta, small["vessel"]) for share in (0.5, 1, 0))
    assert detail_projection(half, whole) == pytest.approx(0.5)
    assert detail_projection(-whole, whole) == pytest.approx(-1)
    assert np.isnan(detail_projection(whole, none))


def test_the_remap_gives_the_mean_cta_of_each_ncct_value() -> None:
    first = np.array([0, 0, 50], np.int16), np.array([100, 200, 60], np.int16)
    second = np.array([0, 0, -700], np.int16), np.array([300, 400, -650], np.int16)
    remap = HURemap([first, second])
    assert remap(np.array([[0, 50], [-700, 0]], np.int16)).tolist() == [[250, 60], [-650, 250]]


def test_the_remap_learns_a_constant_shift(case: PhantomCase) -> None:
    ncct = np.maximum(case.ncct, -1024)  # what lies below is no part of the table
    predicted = HURemap([(ncct, ncct + np.int16(37))])(ncct)
    assert predicted.dtype == np.int16
    assert np.array_equal(predicted, ncct + 37)


def test_the_remap_beats_the_identity_on_its_own_pairs(case: PhantomCase) -> None:
    other = make_case(1, 1, shape=(48, 48, 24), spacing=(7.0, 7.0, 10.5))
    pairs = [(case.ncct, case.cta), (other.ncct, other.cta)]
    remap = HURemap(pairs)
    remapped = sum(mean_squared_error(remap(ncct).astype(float), cta.astype(float)) for ncct, cta in pairs)
    identity = sum(mean_squared_error(ncct.astype(float), cta.astype(float)) for ncct, cta in pairs)
    assert remapped < 0.9 * identity


def test_the_remap_rounds_fractional_hu_to_the_nearest() -> None:
    remap = HURemap([(np.array([9.6, -20.4], np.float32), np.array([99, -80], np.float32))])
    values = np.array([10, 9.7, -20.2, 50.6, -50.6, 4000.6], np.float32)
    assert remap(values).tolist() == [99, 99, -80, 51, -51, 4001]


def test_the_remap_leaves_values_that_it_never_saw() -> None:
    remap = HURemap([(np.array([10], np.int16), np.array([99], np.int16))])
    unseen = np.array([-3024, -1024, 11, 3071, 3072, 32767], np.int16)
    assert np.array_equal(remap(unseen), unseen)


def test_padding_below_the_table_does_not_count_as_its_lowest_value() -> None:
    ncct = np.array([-3024, -3024, -1024], np.int16)
    remap = HURemap([(ncct, np.array([-3024, -3024, -1000], np.int16))])
    assert remap(ncct).tolist() == [-3024, -3024, -1000]
