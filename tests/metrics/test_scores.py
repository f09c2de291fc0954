"""What theory says of every score, on a phantom large enough for each of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ncct_cta.common.hu import HUWindow
from ncct_cta.metrics import CaseImages, ComparedImages, columns, headlines, scores
from ncct_cta.metrics.similarity import LEAST_SIDE_MS_SSIM
from ncct_cta.phantom.cohort import PhantomCase, make_case

SPACING = (1.65, 1.1, 12.0)
WINDOW = HUWindow(-1000, 600)
REGIONS = ("body", "lung", "vessel", "nonvessel")
RANGES = {"range4095": 4095, "window_-1000_600": 1600}


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    # Drawn at half the resolution, which takes a quarter of the time.
    drawn = make_case(1, shape=(103, 113, 20), spacing=(2 * SPACING[0], 2 * SPACING[1], SPACING[2]))
    images = (drawn.ncct, drawn.cta, drawn.lung, drawn.vessel)
    return PhantomCase(*(image.repeat(2, 0).repeat(2, 1) for image in images), affine=np.diag([*SPACING, 1]))


def images_of(case: PhantomCase, **masks: np.ndarray | None) -> CaseImages:
    given = {"lung": case.lung, "vessel": case.vessel, **masks}
    return CaseImages(case.ncct, case.cta, **given, spacing=SPACING)


def scored(images: CaseImages, prediction: np.ndarray, window: HUWindow = WINDOW) -> dict[str, float]:
    return scores(images.compared_with(prediction), columns(window))


@pytest.fixture(scope="module")
def images(case: PhantomCase) -> CaseImages:
    return images_of(case)


@pytest.fixture(scope="module")
def identity(case: PhantomCase, images: CaseImages) -> dict[str, float]:
    return scored(images, case.ncct)


def test_every_column_is_scored_and_nothing_else(identity: dict[str, float]) -> None:
    names = [column.name for column in columns(WINDOW)]
    assert set(identity) == set(names)
    assert len(set(names)) == len(names)
    assert {column.name for column in headlines(WINDOW)} < set(names)


def test_a_perfect_prediction_is_perfect_in_every_score(case: PhantomCase, images: CaseImages) -> None:
    found = scored(images, case.cta)
    expected = {"lower": 0, "zero": 0, "one": 1}
    for column in columns(WINDOW):
        if column.metric.better == "higher":
            assert found[column.name] == pytest.approx(math.inf if column.metric.short == "PSNR" else 1, abs=1e-6)
        elif column.metric.better != "neither":
            assert found[column.name] == pytest.approx(expected[column.metric.better], abs=1e-9)
    assert found["enhancement_recovery_spread"] == pytest.approx(0, abs=1e-9)
    assert found["vessel_cnr"] > 3


def test_no_score_leaves_its_limits(images: CaseImages, identity: dict[str, float]) -> None:
    prediction = np.random.default_rng(0).normal(-200, 500, images.cta.shape)
    noise = scores(ComparedImages(images, prediction), columns(WINDOW))
    for column in columns(WINDOW):
        low, high = column.metric.limits
        assert low <= identity[column.name] <= high, column.name
        assert low <= noise[column.name] <= high, column.name


def test_the_identity_enhances_nothing(case: PhantomCase, images: CaseImages, identity: dict[str, float]) -> None:
    assert identity["enhancement_recovery"] == 0 == identity["enhancement_recovery_spread"]
    assert identity["vessel_dice"] == 0 == identity["vessel_cldice"]
    # In vessels its error is the enhancement, and the remaining noise is far smaller.
    enhancement = (case.cta.astype(float) - case.ncct)[case.vessel > 0].mean()
    assert identity["vessel_bias_hu"] == pytest.approx(-enhancement, rel=1e-6)
    assert identity["vessel_mae_hu"] == pytest.approx(enhancement, rel=0.01)
    assert abs(identity["vessel_cnr"]) < 4
    assert identity["vessel_cnr"] < 0.3 * scored(images, case.cta)["vessel_cnr"]
    assert identity["nonvessel_mae_hu"] < 0.1 * identity["vessel_mae_hu"]
    assert identity["lung_vessel_detail"] < 0.8


def test_a_constant_shift_of_10_hu_gives_what_theory_says(case: PhantomCase, images: CaseImages) -> None:
    # Clipped before, so that the shift reaches every voxel of the ranges, too.
    case = PhantomCase(case.ncct, case.cta.clip(-980, 580), case.lung, case.vessel, case.affine)
    images = images_of(case)
    found, perfect = scored(images, case.cta + np.int16(10)), scored(images, case.cta)
    for region in REGIONS:
        assert [found[f"{region}_{name}_hu"] for name in ("mae", "rmse", "bias")] == pytest.approx([10, 10, 10])
        for name, width in RANGES.items():
            assert found[f"{region}_psnr_db_{name}"] == pytest.approx(20 * math.log10(width / 10), abs=1e-6)
            assert 0.99 < found[f"{region}_ssim_{name}"] < 1
    for name, width in RANGES.items():
        # A shift changes SSIM's luminance alone, most where it is darkest.
        darkest = 20 - (-1024 if width == 4095 else -1000) - 1000
        c1 = (0.01 * width) ** 2
        least = (2 * darkest * (darkest + 10) + c1) / (darkest**2 + (darkest + 10) ** 2 + c1)
        assert least <= found[f"body_ssim_{name}"] < 1
        assert least <= found[f"body_msssim_{name}"] < 1
    enhancement = (case.cta.astype(float) - case.ncct)[case.vessel > 0].mean()
    assert found["enhancement_recovery"] == pytest.approx(1 + 10 / enhancement)
    assert 0 < found["enhancement_recovery_spread"] < 0.05
    assert found["vessel_cnr"] == pytest.approx(perfect["vessel_cnr"])
    assert found["vessel_cnr_ratio"] == pytest.approx(1)
    assert found["lung_vessel_detail"] == pytest.approx(1, abs=1e-4)
    assert 0.95 < found["vessel_dice"] < 1
    assert 0.95 < found["vessel_cldice"] < 1


def test_a_shuffled_prediction_is_worse_than_the_identity_in_every_score(
    case: PhantomCase, images: CaseImages, identity: dict[str, float]
) -> None:
    body = images.masks["body"]
    cut = images.cut(case.cta)
    shuffled = np.full(case.cta.shape, -1000, np.int16)
    values = cut[body]
    np.random.default_rng(0).shuffle(values)
    view = shuffled[images.box]
    view[body] = values
    found = scored(images, shuffled)
    for column in columns(WINDOW):
        if column.name == "vessel_shape_mae_hu":  # contrast at random places is as bad as none
            assert found[column.name] == pytest.approx(identity[column.name], rel=1e-3)
        elif column.name.startswith("missed"):  # some of the bright voxels are vessels by chance
            assert found[column.name] > 0
        elif column.metric.better == "lower":
            assert found[column.name] > identity[column.name], column.name
        elif column.metric.short in ("PSNR", "SSIM", "MS-SSIM"):
            assert found[column.name] < identity[column.name], column.name
    # The body keeps its values: its bias stays 0, its squared error is twice their variance.
    assert found["body_bias_hu"] == pytest.approx(0, abs=1e-2)
    assert found["body_rmse_hu"] == pytest.approx(math.sqrt(2 * values.astype(float).var()), rel=0.01)
    # A vessel's voxels have the mean of the body.
    vessel = case.vessel > 0
    mean, ncct, cta = values.mean(), case.ncct[vessel].mean(), case.cta[vessel].mean()
    assert found["enhancement_recovery"] == pytest.approx((mean - ncct) / (cta - ncct), abs=0.05)
    assert abs(found["vessel_cnr"]) < 0.1
    assert found["vessel_dice"] < 0.1
    assert found["vessel_cldice"] < 0.1
    assert abs(found["lung_vessel_detail"]) < 0.1
    assert found["lung_vessel_energy"] > 2


def test_half_the_enhancement_is_half_of_it_in_every_score_of_contrast(
    case: PhantomCase, images: CaseImages, identity: dict[str, float]
) -> None:
    ncct = case.ncct.astype(np.float32)
    found = scored(images, ncct + 0.5 * (case.cta - ncct))
    assert found["enhancement_recovery"] == pytest.approx(0.5)
    assert found["enhancement_recovery_spread"] == pytest.approx(0, abs=1e-6)
    for region in REGIONS:
        assert found[f"{region}_mae_hu"] == pytest.approx(identity[f"{region}_mae_hu"] / 2, rel=1e-5)


def test_blurring_costs_detail_and_small_vessels(case: PhantomCase, images: CaseImages) -> None:
    found = scored(images, gaussian_filter(case.cta.astype(np.float32), (1, 1, 0)))
    assert found["lung_vessel_detail"] < 0.3
    assert found["vessel_cldice"] < 0.99
    assert found["enhancement_recovery_spread"] > 0.05


def test_the_air_around_the_body_changes_no_score(case: PhantomCase, images: CaseImages) -> None:
    margin = ((9, 3), (4, 8), (0, 0))
    padded = (np.pad(image, margin, constant_values=-1000) for image in (case.ncct, case.cta))
    lung, vessel = (np.pad(mask, margin) for mask in (case.lung, case.vessel))
    wide = CaseImages(*padded, lung=lung, vessel=vessel, spacing=SPACING)
    prediction = gaussian_filter(case.cta, (1, 1, 0))
    expected = scored(images, np.where(case.ncct == -1000, -1000, prediction))
    found = scored(wide, np.pad(np.where(case.ncct == -1000, -1000, prediction), margin, constant_values=-1000))
    for name in expected:
        if "msssim" not in name:  # of the box, whose margin the image's border cuts
            assert found[name] == pytest.approx(expected[name], rel=1e-5), name


def test_what_a_prediction_shows_outside_the_body_changes_no_score(case: PhantomCase, images: CaseImages) -> None:
    body = np.zeros(case.cta.shape, bool)
    body[images.box] = images.masks["body"]
    cut_out = np.where(body, case.cta, np.random.default_rng(0).integers(-1024, 500, body.shape, np.int16))
    assert scored(images, cut_out) == scored(images, case.cta)


def test_without_bright_vessels_in_the_cta_their_overlap_is_not_available_to_any_prediction(case: PhantomCase) -> None:
    dark = case.ncct + np.int16(1)
    images = CaseImages(case.ncct, dark, lung=case.lung, vessel=None, spacing=SPACING)
    for prediction in (case.ncct, case.cta):
        found = scored(images, prediction)
        assert math.isnan(found["vessel_dice"])
        assert math.isnan(found["vessel_cldice"])


@pytest.mark.parametrize(
    ("missing", "unknown"),
    [("lung", {"lung"}), ("vessel", {"vessel", "nonvessel", "lung_vessel", "enhancement"})],
)
def test_scores_of_a_missing_mask_are_not_available(case: PhantomCase, missing: str, unknown: set[str]) -> None:
    found = scored(images_of(case, **{missing: None}), case.cta)
    found_by_threshold = {f"vessel_{name}" for name in ("dice", "cldice", "volume_ratio", "branch_ratio")}  # no mask
    for name, score in found.items():
        expected = any(name.startswith(f"{start}_") for start in unknown) and name not in found_by_threshold
        assert math.isnan(score) == expected, name


def test_a_volume_of_air_has_no_scores_at_all() -> None:
    air = np.full((LEAST_SIDE_MS_SSIM, LEAST_SIDE_MS_SSIM, 14), -1000, np.int16)
    images = CaseImages(air, air, lung=None, vessel=None, spacing=SPACING)
    assert all(map(math.isnan, scored(images, air + np.int16(10)).values()))


def test_a_window_that_is_synthrads_range_is_not_scored_twice(case: PhantomCase) -> None:
    window = HUWindow(-1024, 3071)
    found = scored(CaseImages(case.ncct, case.cta, lung=None, vessel=None, spacing=SPACING), case.cta, window)
    assert set(found) == {column.name for column in columns(window)}


def test_ignored_voxels_count_in_no_region(case: PhantomCase, images: CaseImages) -> None:
    ignore = np.zeros(case.lung.shape, np.uint8)
    ignore[: ignore.shape[0] // 2] = 1
    wrong = np.where(ignore > 0, case.cta + 200, case.cta).astype(np.int16)
    found = scored(images_of(case, ignore=ignore), wrong)
    seen = scored(images, wrong)
    for region in REGIONS:
        assert found[f"{region}_mae_hu"] == 0
        assert seen[f"{region}_mae_hu"] > 0
