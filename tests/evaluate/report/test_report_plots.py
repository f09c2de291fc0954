from __future__ import annotations

import base64
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from made_evaluation import evaluation_of, log_rows, write_log
from PIL import Image

from ncct_cta.evaluate.report.plots import distribution, health, read_curves, strip, training_curves
from ncct_cta.evaluate.results import DEFAULT_WINDOW
from ncct_cta.metrics import columns

COLUMNS = {column.name: column for column in columns(DEFAULT_WINDOW)}


def content(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


def test_a_distribution_names_methods_unit_and_direction(evaluation):
    svg = content(distribution(evaluation, COLUMNS["vessel_mae_hu"])).decode()
    for words in ("identity", "HU remap", "G2", "MAE, vessels [HU] (lower is better)"):
        assert f">{words}<" in svg


def test_long_names_that_differ_at_the_end_are_told_apart(cases):
    names = [f"unet_with_quite_a_long_name_{end}" for end in ("wide", "deep")]
    found = evaluation_of(cases, {name: {} for name in names})
    svg = content(distribution(found, COLUMNS["vessel_mae_hu"])).decode()
    assert ">unet_with_qui...ng_name_wide<" in svg
    assert ">unet_with_qui...ng_name_deep<" in svg


def test_a_name_with_dollar_signs_is_no_formula(cases):
    assert b">a$^$b<" in content(distribution(evaluation_of(cases, {"a$^$b": {}}), COLUMNS["vessel_mae_hu"]))


def test_a_distribution_has_a_dot_for_every_case_and_method(evaluation):
    def dots(shown):
        return content(distribution(shown, COLUMNS["vessel_mae_hu"])).decode().count("#2b6cb0; fill-opacity")

    fewer = replace(evaluation, cases=evaluation.cases[:3])
    assert dots(evaluation) - dots(fewer) == len(evaluation.methods)


def test_infinite_and_missing_scores_are_left_out(evaluation):
    rows = [{**row, "body_psnr_db_range4095": math.inf if row["method"] == "G" else 30.0} for row in evaluation.rows]
    assert b"NaN" not in content(distribution(replace(evaluation, rows=tuple(rows)), COLUMNS["body_psnr_db_range4095"]))


def test_curves_hold_the_columns_that_have_figures(tmp_path):
    write_log(tmp_path, log_rows())
    curves = read_curves(tmp_path)
    assert "D_real" not in curves
    np.testing.assert_allclose(curves["loss"], [1, 1 / 2, 1 / 3, 1 / 4])


def test_without_a_log_there_are_no_curves(tmp_path):
    assert read_curves(tmp_path) == {}


def test_validation_errors_stand_beside_the_identitys(tmp_path):
    write_log(tmp_path, log_rows())
    svg = content(training_curves(read_curves(tmp_path))).decode()
    for words in ("loss", "val_loss", "vessels", "vessels, identity", "validation MAE [HU]"):
        assert f">{words}<" in svg
    assert "score of D" not in svg


@pytest.mark.parametrize(("mode", "explained"), [("least_squares", True), ("hinge", False)])
def test_the_fixed_points_are_drawn_for_least_squares_alone(tmp_path, mode, explained):
    write_log(tmp_path, log_rows(0.7, 0.3))
    svg = content(training_curves(read_curves(tmp_path), mode)).decode()
    assert "mean score of D" in svg
    assert ("3/4: gradient leak" in svg) == explained


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ((0.75, 0.75), "sits near 3/4"),
        ((0.5, 0.5), "The discriminator is blind: it gives"),
        ((0.99, 0.01), "saturated"),
        ((0.7, 0.3), "tells real from synthetic CTAs, and can still be fooled. D_real 0.700, D_fake 0.300"),
    ],
)
def test_health_says_what_the_last_scores_mean(tmp_path, scores, words):
    write_log(tmp_path, log_rows(*scores))
    assert words in health(read_curves(tmp_path))


def test_health_is_no_mean_of_all_epochs(tmp_path):
    """D starts blind, and the figures of its start would hide what it has learned."""
    rows = log_rows(0.5, 0.5)[:1] + log_rows(0.7, 0.3)[1:]
    write_log(tmp_path, rows)
    assert "D_real 0.700, D_fake 0.300, means of the last 3 epochs" in health(read_curves(tmp_path))


def test_after_a_few_steps_nothing_is_said_of_the_discriminators_health(tmp_path):
    rows = log_rows(steps=100)[:3] + log_rows(0.5, 0.5, steps=100)[3:]  # D joined in the fourth epoch
    write_log(tmp_path, rows)
    assert health(read_curves(tmp_path)).startswith("The discriminator took part in 100 steps: too few to judge it")


def test_without_a_discriminator_there_is_no_health(tmp_path):
    write_log(tmp_path, log_rows())
    assert health(read_curves(tmp_path)) == ""


def test_a_strip_is_a_small_jpeg():
    ncct, cta = np.zeros((64, 64), np.int16), np.full((64, 64), 300, np.int16)
    image = content(strip(ncct, cta, cta, title="case", name="G", aspect=1.0))
    assert len(image) < 200_000
    assert Image.open(io.BytesIO(image)).format == "JPEG"


@pytest.mark.parametrize(
    "content",
    [
        "epoch,iteration,loss\n1,2,abc\n",
        "loss\n1\n",
        "epoch,iteration,loss\n1,2,3,4,5\n1\n",
        "epoch,iteration,loss\n1,inf,1e999\n",
        "epoch,iteration,D_real,D_fake\n1,10,0.5,\n2,20,,0.5\n",
        "epoch,iteration,D_real,D_fake\nx,x,,\n2,900,0.5,0.5\n",
        "",
        "\x00\xff",
        "loss\n" + "9" * 200_000,
    ],
)
def test_a_log_that_no_training_wrote_is_drawn_as_far_as_it_can_be(content: str, tmp_path) -> None:
    (tmp_path / "metrics.csv").write_bytes(content.encode("latin-1"))
    curves = read_curves(tmp_path)
    health(curves)
    if curves:
        training_curves(curves)


def test_a_run_without_a_validation_says_so_and_draws_no_empty_legend(recwarn: pytest.WarningsRecorder) -> None:
    curves = {"epoch": np.array([1.0, 2.0]), "iteration": np.array([3.0, 6.0]), "loss": np.array([2.0, 1.0])}
    assert "no validation" in content(training_curves(curves)).decode()
    assert not [warning for warning in recwarn if "legend" in str(warning.message)]
