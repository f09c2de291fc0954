"""Predictions as other programs write them: scored as they are meant, or refused with what mends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from test_evaluate import CASE, evaluate, hu, refused

from ncct_cta.metrics import body_mask

SPACING = (7.0, 7.0, 10.5)


def noisy(cohort: Path) -> np.ndarray:
    cta = hu(cohort / f"{CASE}_cta.nii.gz").astype(np.float32)
    return (cta + np.random.default_rng(0).normal(0, 12, cta.shape)).round()


def body(cohort: Path) -> np.ndarray:
    return body_mask(hu(cohort / f"{CASE}_ncct.nii.gz"), SPACING)


def written(cohort: Path, folder: Path, array: np.ndarray) -> Path:
    """A folder with a prediction that another program made, float32 and with a bare header."""
    folder.mkdir()
    affine = nib.load(cohort / f"{CASE}_cta.nii.gz").affine
    nib.save(nib.Nifti1Image(array.astype(np.float32), affine), folder / f"{CASE}_syncta.nii.gz")
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda array, body: np.where(body, array, 0),
        lambda array, body: np.where(body, array, -1024),
        lambda array, body: np.where(body, array, 3000),
        lambda array, body: array[..., None],
    ],
    ids=["0 around the body", "-1024", "3000", "4-D"],
)
def test_what_is_written_around_the_body_changes_no_score_and_asks_nothing(cohort, tmp_path, capsys, change) -> None:
    plain = written(cohort, tmp_path / "plain", noisy(cohort))
    other = written(cohort, tmp_path / "other", change(noisy(cohort), body(cohort)))
    found = evaluate(cohort, tmp_path / "out", "--pred", plain, "--pred", other)
    assert repr(found[CASE, "other"]) == repr(found[CASE, "plain"])
    assert "another anatomy" not in " ".join(capsys.readouterr().out.split())


def test_nan_is_counted_and_refused(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    array = np.where(body(cohort), noisy(cohort), np.nan)
    line = refused(capsys, cohort, tmp_path, "--pred", written(cohort, tmp_path / "p", array))
    assert f"{np.isnan(array).sum()} of {array.size} voxels are NaN" in line


@pytest.mark.parametrize(
    "change",
    [lambda array: array + 1024, lambda array: (array.clip(-1000, 600) + 1000) / 1600],
    ids=["shifted by 1024", "scaled to 0..1"],
)
def test_what_is_no_hu_is_refused(cohort, tmp_path, capsys, change: Callable[[np.ndarray], np.ndarray]) -> None:
    line = refused(capsys, cohort, tmp_path, "--pred", written(cohort, tmp_path / "p", change(noisy(cohort))))
    assert f"{CASE}_syncta.nii.gz" in line
    assert "values lie in [" in line


def test_contrast_that_was_cut_off_is_remarked(cohort: Path, tmp_path: Path, capsys) -> None:
    evaluate(cohort, tmp_path / "out", "--pred", written(cohort, tmp_path / "p", noisy(cohort).clip(-1000, 250)))
    assert f"p's prediction of {CASE} is cut off at 250 HU" in " ".join(capsys.readouterr().out.split())


def test_a_poor_prediction_is_not_called_cut_off(cohort: Path, tmp_path: Path, capsys) -> None:
    array = noisy(cohort)
    weak = np.where(array > 100, 100 + 0.4 * (array - 100), array).round()
    assert (hu(cohort / f"{CASE}_cta.nii.gz") > weak.max()).sum() > 100
    evaluate(cohort, tmp_path / "out", "--pred", written(cohort, tmp_path / "p", weak))
    assert "is cut off" not in capsys.readouterr().out


def test_a_scaled_prediction_is_scored_in_its_window(cohort: Path, tmp_path: Path) -> None:
    array = noisy(cohort).clip(-1000, 600)
    expected = evaluate(cohort, tmp_path / "hu", "--pred", written(cohort, tmp_path / "p", array))[CASE, "p"]
    scaled = written(cohort, tmp_path / "scaled", (array + 1000) / 800 - 1)
    words = ("--pred", f"p={scaled}", "--pred-window", -1000, 600)
    found = evaluate(cohort, tmp_path / "out", *words)[CASE, "p"]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-3, nan_ok=True)


def test_the_report_shows_a_scaled_prediction_in_hu(cohort: Path, tmp_path: Path, monkeypatch) -> None:
    from ncct_cta.evaluate.command import main
    from ncct_cta.evaluate.report import shown_cases

    shown = []
    fit = shown_cases.fit_case
    monkeypatch.setattr(shown_cases, "fit_case", lambda volumes, room: shown.append(volumes) or fit(volumes, room))
    array = noisy(cohort).clip(-1000, 600)
    scaled = written(cohort, tmp_path / "p", (array + 1000) / 800 - 1)
    words = ["--datalist", cohort, "--output", tmp_path / "out", "--pred", scaled, "--pred-window", -1000, 600]
    main([str(word) for word in words])
    prediction, cta = shown[0].images_hu[-2:]
    assert np.abs(prediction - cta.clip(-1000, 600)).mean() < 15


@pytest.mark.parametrize("change", [np.array, lambda array: (array.clip(-1000, 600) + 1000) / 1600], ids=["HU", "0..1"])
def test_a_window_for_what_is_not_scaled_to_it_is_refused(cohort, tmp_path, capsys, change) -> None:
    folder = written(cohort, tmp_path / "p", change(noisy(cohort)))
    line = refused(capsys, cohort, tmp_path, "--pred", folder, "--pred-window", -1000, 600)
    assert "expected [-1, 1] because of --pred-window" in line
