"""Iodine taken out of phantoms, whose true NCCT is known, and what the gates say of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.limits import flags
from ncct_cta.prepare.virtual.blood import FoundBlood
from ncct_cta.prepare.virtual.gates import BONE, LIMITS, NOISE_AUC, WALL, auc, measure
from ncct_cta.prepare.virtual.local import dilated, eroded, local_mean
from ncct_cta.prepare.virtual.making import VirtualPair, make_pair
from ncct_cta.prepare.virtual.noise import measure_noise
from ncct_cta.prepare.virtual.removal import remove_iodine
from ncct_cta.prepare.virtual.variety import VirtualSettings, random_of

SHAPE, SPACING = (144, 108, 60), (2.0, 2.0, 4.0)
SETTINGS = VirtualSettings(kernel_mm=(0.0, 0.0))


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray, FoundBlood]:
    """CTA and true NCCT without noise, and its tissues as they are."""
    noisy = make_case(5, shape=SHAPE, spacing=SPACING)
    clean = make_case(5, shape=SHAPE, spacing=SPACING, noise=False)
    truth = clean.ncct.astype(np.float32)
    blood, lung, bone = noisy.vessel > 0, noisy.lung > 0, truth > 200
    level = float(np.median(noisy.cta[eroded(blood, SPACING, 4.0)]))
    nothing = np.zeros_like(blood)
    return noisy.cta, truth, FoundBlood(blood, level, lung, (truth > -300) | lung, bone, nothing, nothing)


@pytest.fixture(scope="module")
def pair(phantom: tuple[np.ndarray, np.ndarray, FoundBlood]) -> VirtualPair:
    return make_pair(phantom[0], SPACING, phantom[2], SETTINGS, random_of(0, "a"))


def test_a_local_mean_sees_its_mask_alone() -> None:
    hu = np.full((20, 20, 5), 300.0, np.float32)
    hu[:10] = 50
    mask = np.zeros(hu.shape, bool)
    mask[:10] = True
    np.testing.assert_allclose(local_mean(hu, mask, (1, 1, 1), (3.0, 9.0), 0.0)[:14], 50, atol=1e-3)


def test_blood_is_brought_to_its_level_and_the_noise_stays(phantom: tuple[np.ndarray, np.ndarray, FoundBlood]) -> None:
    cta, _, found = phantom
    removed = remove_iodine(
        cta.astype(np.float32), found.blood, found.bone, found.lung, SPACING, level_hu=found.level_hu, target_hu=40.0
    )
    inside = eroded(found.blood, SPACING, 6.0)
    assert abs(removed.hu[inside].mean() - 40) < 3
    noise = cta - make_case(5, shape=SHAPE, spacing=SPACING, noise=False).cta
    assert np.corrcoef(removed.hu[inside], noise[inside])[0, 1] > 0.8
    assert not removed.lost[inside].any()


def test_nothing_changes_far_from_blood_and_in_bone(phantom: tuple[np.ndarray, np.ndarray, FoundBlood]) -> None:
    cta, _, found = phantom
    hu = cta.astype(np.float32)
    removed = remove_iodine(hu, found.blood, found.bone, found.lung, SPACING, level_hu=400.0, target_hu=40.0)
    kept = found.bone | ~dilated(found.blood, SPACING, 9.0)
    np.testing.assert_array_equal(removed.hu[kept], hu[kept])


def test_no_dark_rim_is_left_where_a_great_vessel_with_its_wall_lies_in_fat() -> None:
    spacing = (1.0, 1.0, 1.0)
    x, y = np.mgrid[-20:20, -20:20]
    radius = np.repeat(np.hypot(x, y)[..., None], 12, axis=2).astype(np.float32)
    blood = np.clip(10.5 - radius, 0, 1)
    wall = np.clip(12.0 - radius, 0, 1) - blood
    hu = 400 * blood + 45 * wall - 100 * (1 - blood - wall)
    nothing = np.zeros(hu.shape, bool)
    removed = remove_iodine(hu, blood >= 0.5, nothing, nothing, spacing, level_hu=400.0, target_hu=45.0)
    rim = (blood >= 0.5) & (blood < 1)
    assert abs(removed.hu[rim].mean() - 45) < 12


def test_a_vein_in_the_lungs_keeps_its_own_level_beside_an_artery() -> None:
    spacing = (2.0, 2.0, 2.0)
    hu = np.full((40, 30, 12), -850.0, np.float32)
    hu[12:17, 12:18] = 250  # an artery with a core
    hu[18:20, 14:16] = 420  # a vein without
    blood, everywhere = hu > -400, np.ones(hu.shape, bool)
    removed = remove_iodine(hu, blood, ~everywhere, everywhere, spacing, level_hu=250.0, target_hu=40.0)
    assert abs(removed.hu[18:20, 14:16].mean() - 40) < 40


def test_fresh_noise_has_the_strength_and_the_correlation_of_the_scan() -> None:
    random = np.random.default_rng(0)
    white = random.standard_normal((64, 64, 24)).astype(np.float32)
    scan = 10 * (white + np.roll(white, 1, axis=0)) / np.sqrt(2)
    everywhere = np.ones(scan.shape, bool)
    noise = measure_noise(scan, everywhere, ~everywhere, (1.0, 1.0, 1.0))
    fresh = noise.fresh(random)
    assert abs(fresh.std() - 1) < 0.05
    assert abs(noise.strength_hu.mean() / 10 - 1) < 0.1
    assert abs(np.mean(fresh[1:] * fresh[:-1]) - 0.5) < 0.1
    assert abs(np.mean(fresh[:, 1:] * fresh[:, :-1])) < 0.1


def test_a_case_is_the_same_whatever_other_cases_there_are(
    phantom: tuple[np.ndarray, np.ndarray, FoundBlood], pair: VirtualPair
) -> None:
    again = make_pair(phantom[0], SPACING, phantom[2], SETTINGS, random_of(0, "a"))
    np.testing.assert_array_equal(again.ncct, pair.ncct)
    assert make_pair(phantom[0], SPACING, phantom[2], SETTINGS, random_of(0, "b")).drawn != pair.drawn


def test_quiet_vessels_betray_themselves(phantom: tuple[np.ndarray, np.ndarray, FoundBlood], pair: VirtualPair) -> None:
    cta, _, found = phantom
    quiet = np.where(found.blood, np.float32(pair.drawn.blood_hu), pair.ncct)
    scores = [
        measure(cta.astype(np.float32), dataclasses.replace(pair, ncct=ncct), found, SPACING)
        for ncct in (pair.ncct, quiet)
    ]
    assert scores[0][NOISE_AUC] < 0.65 < scores[1][NOISE_AUC]
    assert any("local noise" in flag for flag in flags(scores[1], LIMITS))


def test_bone_that_became_darker_is_flagged_even_if_little_of_it_did(
    phantom: tuple[np.ndarray, np.ndarray, FoundBlood], pair: VirtualPair
) -> None:
    cta, truth, found = phantom
    below = (truth > 100) & (truth < 400) & (np.arange(SHAPE[2]) < 10)
    darker = np.where(below, pair.ncct - 150, pair.ncct)
    # As if that part had been taken for blood.
    missed = dataclasses.replace(found, bone=found.bone & ~below, blood=found.blood | below)
    hu = cta.astype(np.float32)
    assert measure(hu, pair, found, SPACING)[BONE] < 20
    assert measure(hu, dataclasses.replace(pair, ncct=darker), missed, SPACING)[BONE] > 20


@pytest.mark.parametrize("rim_hu", [80.0, -80.0])
def test_a_bright_or_a_dark_rim_is_flagged(
    phantom: tuple[np.ndarray, np.ndarray, FoundBlood], pair: VirtualPair, rim_hu: float
) -> None:
    cta, _, found = phantom
    rim = found.blood & ~eroded(found.blood, SPACING, 1.0)
    scores = [
        measure(cta.astype(np.float32), dataclasses.replace(pair, ncct=ncct), found, SPACING)
        for ncct in (pair.ncct, np.where(rim, pair.ncct + np.float32(rim_hu), pair.ncct))
    ]
    assert scores[0][WALL] < 25 < scores[1][WALL]


def test_the_noise_that_blood_lacks_to_muscle_is_measured() -> None:
    scan = np.random.default_rng(0).standard_normal((64, 64, 24)).astype(np.float32)
    muscle = np.zeros(scan.shape, bool)
    muscle[:32] = True
    noise = measure_noise(scan * np.where(muscle, 13, 5) + 300 * ~muscle, muscle, ~muscle, (1.0, 1.0, 1.0))
    assert abs(noise.missing_hu.mean() - 12) < 1.5


def test_an_auc_of_equal_values_is_a_half() -> None:
    assert auc(np.arange(9), np.arange(9)) == 0.5
    assert auc(np.arange(9), np.arange(9, 18)) == 1.0
