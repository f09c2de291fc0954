from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ncct_cta.evaluate.report.tables import figure, first_trained, heading, table
from ncct_cta.evaluate.results import DEFAULT_WINDOW, Statistic
from ncct_cta.metrics import columns

COLUMNS = {column.name: column for column in columns(DEFAULT_WINDOW)}


def with_means(evaluation, name, means):
    """The evaluation with these means of one score, a method each."""
    summary = {
        method: {**statistics, name: Statistic(4, mean, 1.0, mean - 1, mean + 1, 0.125, 0.0004, 0.25, 0.0008)}
        for (method, statistics), mean in zip(evaluation.summary.items(), means, strict=True)
    }
    return replace(evaluation, summary=summary)


@pytest.mark.parametrize(
    ("name", "means", "best"),
    [
        ("vessel_mae_hu", (30, 20, 10, 20), [2]),
        ("vessel_dice", (0.3, 0.9, 0.2, 0.1), [1]),
        ("enhancement_recovery", (0.0, 0.8, 1.3, 0.9), [3]),
        ("vessel_bias_hu", (-30, 5, -2, 4), [2]),
        ("vessel_mae_hu", (10, 20, 10, math.nan), [0, 2]),
        ("vessel_mae_hu", (math.nan,) * 4, []),
        ("vessel_cnr", (1, 2, 3, 4), []),
    ],
)
def test_the_best_is_marked_by_what_better_means(evaluation, name, means, best):
    rows = table(with_means(evaluation, name, means), [COLUMNS[name]])
    assert [at for at, row in enumerate(rows) if row.cells[0].best] == best


def test_a_mean_over_fewer_cases_is_not_the_best(evaluation):
    evaluation = with_means(evaluation, "vessel_mae_hu", (30, 20, 10, 20))
    fewer = replace(evaluation.summary["G"]["vessel_mae_hu"], cases=3)
    summary = {**evaluation.summary, "G": {**evaluation.summary["G"], "vessel_mae_hu": fewer}}
    rows = table(replace(evaluation, summary=summary), [COLUMNS["vessel_mae_hu"]])
    assert [row.name for row in rows if row.cells[0].best] == ["HU remap", "G2"]


def test_a_cell_holds_mean_interval_cases_and_tests(evaluation):
    cell = table(with_means(evaluation, "vessel_bias_hu", (-30, 5, -2, 4)), [COLUMNS["vessel_bias_hu"]])[0].cells[0]
    assert (cell.mean, cell.interval) == ("−30.0", "[−31.0, −29.0]")
    words = "n = 4, SD 1.0; paired Wilcoxon test, corrected (Holm): p 0.250 against identity, < 0.001 against G"
    assert cell.tests == words


def test_a_primary_endpoints_test_is_not_called_corrected(evaluation):
    cell = table(with_means(evaluation, "nonvessel_mae_hu", (9, 8, 7, 6)), [COLUMNS["nonvessel_mae_hu"]])[0].cells[0]
    assert "paired Wilcoxon test: p" in cell.tests


def test_what_does_not_exist_is_not_available(evaluation):
    cell = table(evaluation, [COLUMNS["lung_mae_hu"]])[0].cells[0]
    assert (cell.mean, cell.interval, cell.p_identity) == ("n/a", "", "n/a")


def test_baselines_are_marked_and_named(evaluation):
    rows = table(evaluation, [COLUMNS["vessel_mae_hu"]])
    assert [(row.name, row.baseline) for row in rows] == [
        ("identity", True), ("HU remap", True), ("G", False), ("G2", False),
    ]  # fmt: skip


def test_the_first_trained_is_no_baseline_if_there_is_one(evaluation):
    assert first_trained(evaluation.methods).name == "G"
    assert first_trained(evaluation.methods[:2]).name == "identity"


def test_a_heading_says_what_is_measured_and_what_is_better():
    assert heading(COLUMNS["vessel_mae_hu"]) == (
        "MAE, vessels in HU: mean absolute error against the CTA. Lower is better."
    )


def test_an_infinite_psnr_is_shown_as_such():
    assert figure(math.inf, 1) == "∞"
