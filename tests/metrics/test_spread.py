"""Formulas that judge a map of uncertainty, against cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ncct_cta.common.hu import SPREAD_FLOOR_HU
from ncct_cta.metrics.spread import CalibrationVoxels, Interval, auroc, fit_interval, reliability, sparsification

RANDOM = np.random.default_rng(0)


def voxels(count: int, seed: int = 0, *, missed: float = 0.05) -> CalibrationVoxels:
    """A tenth are vessels of 300 HU, of which the prediction misses a share; errors are as wide as the spread says."""
    random = np.random.default_rng(seed)
    vessel = random.random(count) < 0.1
    found = vessel & (random.random(count) > missed)
    spread = np.where(found, 60.0, 10.0)
    prediction = np.where(found, 280.0, 40.0)
    truth = np.where(vessel & ~found, 120.0, prediction)
    cta = truth + random.normal(0, 1, count) * (spread + SPREAD_FLOOR_HU)
    return CalibrationVoxels(np.full(count, 40.0), prediction, spread, cta, vessel)


def covered(interval: Interval, case: CalibrationVoxels) -> np.ndarray:
    return np.abs(case.cta - case.prediction) <= interval.half_width(case.ncct, case.prediction, case.spread)


def test_auroc_is_the_chance_that_a_positive_ranks_higher() -> None:
    scores, positive = np.array([1.0, 3, 2, 2, 5]), np.array([False, True, False, True, True])
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert auroc(scores, positive) == pytest.approx(np.mean(pairs))


def test_auroc_of_one_kind_alone_is_unknown() -> None:
    assert math.isnan(auroc(np.arange(3.0), np.zeros(3, bool)))


def test_without_the_most_uncertain_voxels_less_error_is_left() -> None:
    error = np.array([4.0, 1, 3, 2])
    assert sparsification(error, error, (0, 0.5, 0.75)).tolist() == [2.5, 1.5, 1.0]
    assert sparsification(-error, error, (0, 0.5)).tolist() == [2.5, 3.5]  # a map that has it the wrong way round


def test_a_spread_that_is_the_errors_sd_lies_on_the_diagonal() -> None:
    spread = RANDOM.uniform(5, 100, 50_000)
    mean, found = reliability(spread, np.abs(RANDOM.normal(0, spread)))
    assert np.allclose(mean, found, rtol=0.06)
    assert (np.diff(mean) > 0).all()


def test_the_interval_holds_its_share_of_vessels_and_rest_in_new_cases() -> None:
    interval = fit_interval([voxels(20_000, seed) for seed in range(3)], 0.9)
    new = voxels(40_000, 9)
    inside = covered(interval, new)
    assert inside[new.vessel].mean() == pytest.approx(0.9, abs=0.015)
    assert inside[~new.vessel].mean() == pytest.approx(0.9, abs=0.01)


def test_every_case_counts_the_same_however_large_it_is() -> None:
    small, large = voxels(2_000, 1), voxels(40_000, 2)
    doubled = CalibrationVoxels(large.ncct, large.prediction, large.spread, large.prediction, large.vessel)
    interval = fit_interval([small, doubled], 0.9)  # the large case has no error at all
    assert covered(interval, small)[~small.vessel].mean() == pytest.approx(0.8, abs=0.01)


def test_more_missed_vessels_than_may_be_outside_widen_the_rest_no_further() -> None:
    case = voxels(20_000, 3, missed=0.5)
    interval = fit_interval([case], 0.9)
    assert covered(interval, case)[~case.vessel].mean() == pytest.approx(0.9, abs=0.01)


def test_vessels_alone_give_no_interval() -> None:
    case = voxels(100)
    only = CalibrationVoxels(case.ncct, case.prediction, case.spread, case.cta, np.ones(100, bool))
    with pytest.raises(ValueError, match="vessels and rest"):
        fit_interval([only], 0.9)
