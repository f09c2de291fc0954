"""Faults put into a prediction, and what the scores make of them: what was invented, missed, blurred and thickened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from toy_chest_vessels import BLOOD, BRANCHES, CONTRAST, FINE, FREE, LUNG, NOISE, TRUNK, ToyChest, volume_ml

from ncct_cta.common.hu import HUWindow
from ncct_cta.metrics import CaseImages, Column, columns, scores
from ncct_cta.phantom.cohort import make_case
from ncct_cta.phantom.defaults import DEFAULT_SPACING

COLUMNS = [column for column in columns(HUWindow(-1000, 600)) if not column.metric.in_each_range]
FAULTS = ("false_vessel_ml", "missed_vessel_ml")
FEW_COLUMNS = [column for column in COLUMNS if column.name in (*FAULTS, "lung_vessel_detail")]
FREE_OF_PHANTOM = (63, 33, slice(31, 37))  # in the lung, away from vessels
CALIBRES = ("below_2mm", "2_to_5mm", "above_5mm")


COARSE = (1.5, 1.5, 2.0)
ON_BOTH_GRIDS = pytest.mark.parametrize("toy", [FINE, COARSE], indirect=True, ids=str)


@pytest.fixture(scope="module")
def toy(request: pytest.FixtureRequest) -> ToyChest:
    return ToyChest(getattr(request, "param", FINE))


@pytest.fixture(scope="module")
def cta(toy: ToyChest) -> np.ndarray:
    return toy.with_vessels(CONTRAST) + toy.noise(1)


@pytest.fixture(scope="module")
def images(toy: ToyChest, cta: np.ndarray) -> CaseImages:
    ncct = toy.with_vessels(BLOOD) + toy.noise(0)
    return CaseImages(ncct, cta, lung=toy.lung_mask(), vessel=toy.vessels() > 0.5, spacing=toy.spacing)


@pytest.fixture(scope="module")
def faulty(toy: ToyChest) -> np.ndarray:
    """A prediction with a tube of 4 mm in the lung and without the branches."""
    erased = toy.with_vessels(CONTRAST, [TRUNK]) + toy.noise(1)
    return erased + toy.tube(*FREE, 2) * (CONTRAST - erased)


@pytest.fixture(scope="module")
def found(images: CaseImages, faulty: np.ndarray) -> dict[str, float]:
    return scored(images, faulty)


@pytest.fixture(scope="module")
def phantom() -> CaseImages:
    case = make_case(0)
    return CaseImages(case.ncct, case.cta, lung=case.lung, vessel=case.vessel, spacing=DEFAULT_SPACING)


@pytest.fixture(scope="module")
def faulty_phantom(phantom: CaseImages) -> np.ndarray:
    """A prediction with a tube as thick as a voxel in the lung and without any vessel on the patient's right."""
    prediction = phantom.whole(phantom.cta)
    half = prediction.shape[0] // 2
    prediction[half:] = phantom.whole(phantom.ncct)[half:]
    prediction[FREE_OF_PHANTOM] = CONTRAST
    return prediction


@pytest.fixture(scope="module")
def of_phantom(phantom: CaseImages, faulty_phantom: np.ndarray) -> dict[str, float]:
    return scored(phantom, faulty_phantom, FEW_COLUMNS)


def scored(images: CaseImages, prediction: np.ndarray, wanted: Sequence[Column] = COLUMNS) -> dict[str, float]:
    return scores(images.compared_with(prediction), wanted)


@ON_BOTH_GRIDS
def test_a_false_tube_of_4_mm_is_measured_by_its_volume(found: dict[str, float]) -> None:
    assert found["false_vessel_ml"] == pytest.approx(volume_ml(*FREE, 2), rel=0.1)


@ON_BOTH_GRIDS
def test_erased_branches_are_missed_by_their_volume(found: dict[str, float]) -> None:
    # What lies within the tolerance of the trunk counts as found.
    reach = TRUNK[2] + 2
    expected = sum(
        volume_ml((0, 0, 0), (0, 0, np.linalg.norm(np.subtract(end, start)) - reach), radius)
        for start, end, radius in BRANCHES
    )
    assert found["missed_vessel_ml"] == pytest.approx(expected, rel=0.1)


# One as thick as a voxel: a tube of 4 mm there.
@pytest.mark.parametrize("seed", range(3))
def test_noise_changes_nothing_on_the_phantoms_default_grid_either(
    phantom: CaseImages, faulty_phantom: np.ndarray, of_phantom: dict[str, float], seed: int
) -> None:
    planted_ml = 6 * np.prod(phantom.spacing) / 1000
    assert of_phantom["false_vessel_ml"] == pytest.approx(planted_ml, rel=0.1)
    noise = NOISE * np.random.default_rng(seed).standard_normal(faulty_phantom.shape, np.float32)
    noisy = scored(phantom, faulty_phantom + noise, FEW_COLUMNS)
    assert noisy == pytest.approx(of_phantom, rel=0.02)


def test_the_calibres_add_up(found: dict[str, float]) -> None:
    for name in ("false_vessel", "missed_vessel"):
        parts = [found[f"{name}_{calibre}_ml"] for calibre in CALIBRES]
        assert sum(parts) == pytest.approx(found[f"{name}_ml"])


@pytest.mark.parametrize(("radius", "calibre"), [(0.95, "below_2mm"), (1.8, "2_to_5mm"), (3.2, "above_5mm")])
def test_a_false_vessel_has_its_calibre(
    toy: ToyChest, images: CaseImages, cta: np.ndarray, radius: float, calibre: str
) -> None:
    found = scored(images, cta + toy.tube(*FREE, radius) * (CONTRAST - cta))
    assert found[f"false_vessel_{calibre}_ml"] > 0.75 * found["false_vessel_ml"] > 0


def test_a_perfect_prediction_invents_and_misses_nothing_and_the_identity_misses_everything(
    images: CaseImages, cta: np.ndarray
) -> None:
    assert [scored(images, cta)[name] for name in FAULTS] == [0, 0]
    identity = scored(images, images.ncct)
    assert identity["false_vessel_ml"] == 0
    everything = sum(volume_ml(*each) for each in (TRUNK, *BRANCHES))
    assert identity["missed_vessel_ml"] == pytest.approx(everything, rel=0.1)


@ON_BOTH_GRIDS
@pytest.mark.parametrize("name", [*FAULTS, "lung_vessel_detail"])
def test_noise_of_20_hu_changes_it_by_no_more_than_2_per_cent(
    toy: ToyChest, images: CaseImages, faulty: np.ndarray, found: dict[str, float], name: str
) -> None:
    assert scored(images, faulty + toy.noise(2))[name] == pytest.approx(found[name], rel=0.02)


@ON_BOTH_GRIDS
def test_noise_alone_invents_and_misses_nothing(toy: ToyChest, images: CaseImages, cta: np.ndarray) -> None:
    noisy = scored(images, cta + toy.noise(3))
    assert [noisy[name] for name in FAULTS] == [0, 0]


def test_noise_is_energy_and_no_detail(toy: ToyChest, images: CaseImages, cta: np.ndarray) -> None:
    rough = scored(images, cta + toy.noise(4, 10 * NOISE))
    assert rough["lung_vessel_energy"] > 1.5
    assert rough["lung_vessel_detail"] == pytest.approx(1, abs=0.1)


def test_the_ctas_own_noise_takes_its_share_of_the_energy_from_a_prediction_without_it(
    toy: ToyChest, images: CaseImages
) -> None:
    clean = scored(images, toy.with_vessels(CONTRAST))["lung_vessel_detail"]
    assert 0.97 < clean < 1


def test_what_is_within_2_mm_is_neither_invented_nor_missed(images: CaseImages, cta: np.ndarray) -> None:
    moved = scored(images, np.roll(cta, 2, axis=1))
    assert moved["false_vessel_ml"] < 0.05 * volume_ml(*TRUNK)
    assert moved["missed_vessel_ml"] < 0.05 * volume_ml(*TRUNK)
    far = scored(images, np.roll(cta, 12, axis=1))
    assert far["false_vessel_ml"] > 0.5 * volume_ml(*TRUNK)
    assert far["missed_vessel_ml"] > 0.5 * volume_ml(*TRUNK)


def test_300_hu_everywhere_are_false_enhancement_of_every_tissue(images: CaseImages) -> None:
    found = scored(images, images.ncct + 300)
    for tissue in ("muscle", "fat", "bone", "lung_parenchyma"):
        assert found[f"{tissue}_false_enhancement_hu"] == pytest.approx(300, abs=5)
    assert found["enhancement_recovery"] == pytest.approx(1, abs=0.05)  # which alone doesn't show it
    assert found["false_vessel_ml"] > 10 * volume_ml(*TRUNK)


def test_contrast_in_the_vessels_alone_is_no_false_enhancement(toy: ToyChest, images: CaseImages) -> None:
    found = scored(images, toy.with_vessels(2 * CONTRAST))
    assert all(abs(found[f"{tissue}_false_enhancement_hu"]) < 5 for tissue in ("muscle", "fat", "bone"))


@pytest.mark.parametrize("thicker", [1.0, -1.0])
def test_vessels_that_are_1_mm_thicker_or_thinner_have_that_bias(
    toy: ToyChest, images: CaseImages, thicker: float
) -> None:
    prediction = toy.with_vessels(CONTRAST, thicker=thicker / 2) + toy.noise(5)
    assert scored(images, prediction)["diameter_bias_mm"] == pytest.approx(thicker, abs=0.3)


def test_weaker_contrast_is_an_error_of_level_and_not_of_shape_or_width(images: CaseImages, cta: np.ndarray) -> None:
    found = scored(images, images.ncct + 0.6 * (cta - images.ncct))
    assert found["vessel_level"] == pytest.approx(0.6)
    assert found["vessel_shape_mae_hu"] == pytest.approx(0, abs=1e-3)
    assert abs(found["diameter_bias_mm"]) < 0.1
    assert found["vessel_mae_hu"] > 50


def test_no_contrast_is_the_worst_shape(images: CaseImages) -> None:
    identity = scored(images, images.ncct)
    assert identity["vessel_shape_mae_hu"] == pytest.approx(identity["vessel_mae_hu"])
    assert identity["vessel_level"] == 0
    darkened = scored(images, 2 * images.ncct - images.cta)  # contrast with the wrong sign
    assert darkened["vessel_shape_mae_hu"] == pytest.approx(identity["vessel_mae_hu"])


def test_blurring_costs_detail(images: CaseImages, cta: np.ndarray) -> None:
    found = scored(images, gaussian_filter(cta, (1, 1, 0)))
    assert found["lung_vessel_detail"] < 0.5
    assert found["lung_vessel_energy"] < found["lung_vessel_detail"]


def test_a_speck_is_no_vessel(images: CaseImages, cta: np.ndarray) -> None:
    speck = cta.copy()
    speck[40:43, 16:19, 14:17] = CONTRAST
    assert LUNG < -400
    assert scored(images, speck)["false_vessel_ml"] == 0


def test_what_brightens_all_tissue_excuses_no_missed_vessel(images: CaseImages) -> None:
    """Otherwise +60 HU on every voxel would hide most of what is missing."""
    hidden = scored(images, images.ncct)["missed_vessel_ml"]
    brighter = scored(images, images.ncct + np.where(images.ncct > -200, 70, 0))["missed_vessel_ml"]
    assert brighter == pytest.approx(hidden, rel=0.1)
