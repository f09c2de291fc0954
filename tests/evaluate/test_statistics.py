from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ncct_cta.evaluate.statistics import conclusion, first_method, holm, summarise
from ncct_cta.metrics import Column, Metric

METRIC = Metric("mae", lambda images: 0.0, "MAE", "MAE", "HU", (0, math.inf), "lower", "an error", "it is unknown")
COLUMN = Column(METRIC)
IDENTITY = [30.0, 35.0, 28.0, 40.0, 33.0, 31.0, 29.0]
OURS = [20.0, 26.0, 27.0, 29.0, 24.5, 30.0, 12.0]
THEIRS = [21.0, 25.0, 28.5, 27.0, 26.0, 33.0, 17.5]


def rows(**scores: list[float]) -> list[dict]:
    """Case by case, as an evaluation has them."""
    count = len(next(iter(scores.values())))
    return [{"case": f"p{i}", "method": name, "mae": own[i]} for i in range(count) for name, own in scores.items()]


def of(method: str, **scores: list[float]):
    return summarise(rows(**scores), [COLUMN])[method]["mae"]


def test_mean_and_sd_are_those_of_the_cases() -> None:
    found = of("ours", identity=IDENTITY, ours=OURS)
    assert (found.cases, found.mean, found.std) == pytest.approx((7, np.mean(OURS), np.std(OURS, ddof=1)))


def test_the_interval_is_that_of_an_independent_bootstrap() -> None:
    found = of("ours", ours=OURS)
    means = np.random.default_rng(5).choice(OURS, (40000, len(OURS))).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(np.percentile(means, (2.5, 97.5)), abs=0.15)
    again, other = (summarise(rows(ours=OURS), [COLUMN], seed=seed)["ours"]["mae"] for seed in (0, 1))
    assert (again.low, again.high) == (found.low, found.high)
    assert other.low != found.low


def test_methods_are_tested_in_pairs_against_the_identity_and_the_first_method() -> None:
    summary = summarise(rows(identity=IDENTITY, hu_remap=THEIRS, ours=OURS, theirs=THEIRS), [COLUMN])
    p = {name: (own["mae"].p_identity, own["mae"].p_first) for name, own in summary.items()}
    against_identity = stats.wilcoxon(OURS, IDENTITY).pvalue
    assert against_identity == pytest.approx(2 / 2**7)
    assert math.isnan(p["identity"][0])
    assert math.isnan(p["ours"][1])
    assert p["identity"][1] == p["ours"][0] == pytest.approx(against_identity)
    assert p["theirs"][1] == p["hu_remap"][1] == pytest.approx(stats.wilcoxon(THEIRS, OURS).pvalue)


def test_a_method_that_changes_nothing_differs_with_p_1() -> None:
    assert of("ours", identity=IDENTITY, ours=IDENTITY).p_identity == 1


def test_cases_without_the_score_are_left_out_and_counted_out() -> None:
    nan = math.nan
    found = of("ours", identity=[30, nan, 28, 40], ours=[20, 26, nan, 30])
    assert (found.cases, found.mean) == (3, pytest.approx(76 / 3))
    assert found.p_identity == pytest.approx(stats.wilcoxon([10, 10]).pvalue)
    nothing = of("ours", identity=[30, 31], ours=[nan, nan])
    assert nothing.cases == 0
    assert all(math.isnan(value) for value in (nothing.mean, nothing.std, nothing.low, nothing.p_identity))


def test_one_case_has_a_mean_and_neither_spread_nor_test() -> None:
    found = of("ours", identity=[30.0], ours=[20.0])
    assert (found.cases, found.mean) == (1, 20)
    assert all(map(math.isnan, (found.std, found.low, found.high, found.p_identity)))


def test_an_infinite_psnr_has_no_spread() -> None:
    found = of("ours", identity=[30.0, 31.0], ours=[math.inf, math.inf])
    assert found.mean == math.inf
    assert all(map(math.isnan, (found.std, found.low, found.high, found.p_identity)))


@pytest.mark.parametrize("cases", [1, 2, 5, 6, 20])
def test_too_few_cases_are_said_exactly_where_no_difference_can_be_significant(cases: int) -> None:
    least_p = stats.wilcoxon(np.arange(1.0, cases + 1)).pvalue
    sentence = conclusion(cases)
    assert (sentence is not None) == (least_p >= 0.05)
    if sentence:
        assert sentence.startswith(f"{cases} case{'s' if cases > 1 else ''}: too few to conclude.")


def test_a_score_that_too_few_cases_have_is_named() -> None:
    assert conclusion(8, {"MAE, body": 8, "MAE, lung": 6, "clDice": 0}) is None
    sentence = conclusion(8, {"MAE, vessels": 3, "MAE, body": 8, "recovery": 5, "clDice": 0})
    assert sentence is not None
    assert sentence.startswith("MAE, vessels (3 of 8 cases); recovery (5 of 8 cases): too few to conclude.")
    assert conclusion(5, {"MAE, vessels": 3}) == conclusion(5)


def test_the_first_method_is_no_baseline() -> None:
    assert first_method(["identity", "hu_remap", "b", "a"]) == "b"
    assert first_method(["identity", "hu_remap"]) is None


def test_holms_correction_is_that_of_the_textbook() -> None:
    assert holm(np.array([0.01, math.nan, 0.04, 0.03, 0.005])).tolist() == pytest.approx(
        [0.03, math.nan, 0.06, 0.06, 0.02], nan_ok=True
    )
    assert holm(np.array([0.6, 0.5])).tolist() == [1, 1]
    assert holm(np.array([])).size == 0


def test_all_but_the_primary_endpoints_are_corrected_for_their_number() -> None:
    names = ("nonvessel_mae_hu", "mae", "rmse")
    scores = [Column(replace(METRIC, name=name)) for name in names]
    found = [
        {"case": str(i), "method": method, **dict.fromkeys(names, values[i])}
        for method, values in (("identity", IDENTITY), ("ours", OURS), ("theirs", THEIRS))
        for i in range(7)
    ]
    for own in (summarise(found, scores)[name] for name in ("ours", "theirs")):
        primary, *others = (own[name] for name in names)
        assert primary.p_identity_corrected == primary.p_identity
        assert [other.p_identity_corrected for other in others] == pytest.approx([2 * primary.p_identity] * 2)
        assert others[0].p_identity == primary.p_identity


def test_no_method_is_compared_with_a_named_baseline_as_the_first() -> None:
    scores = rows(identity=IDENTITY, unet=THEIRS, ours=OURS)
    found = summarise(scores, [COLUMN], baselines=("identity", "unet"))
    assert math.isnan(found["ours"]["mae"].p_first)
    assert found["unet"]["mae"].p_first == pytest.approx(stats.wilcoxon(THEIRS, OURS).pvalue)
