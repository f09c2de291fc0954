"""Maps of uncertainty beside predictions: found, judged on test cases with intervals fitted on validation cases."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ncct_cta.common.files import sha256_of, to_json
from ncct_cta.common.hu import to_int16_hu
from ncct_cta.data import Case, read_case_list
from ncct_cta.evaluate.evaluation import run_evaluation, show
from ncct_cta.evaluate.results import Evaluation
from ncct_cta.evaluate.sources import MethodSource
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.nifti_write import write_like


def predict(cases: list[Case], folder: Path, *, maps: bool = True) -> Path:
    """Predictions with noise that is wider in one half of the body, and maps that say so."""
    folder.mkdir(exist_ok=True)
    for number, case in enumerate(cases):
        ncct, cta = read_ct(case.ncct), read_ct(case.cta)
        spread = np.full(ncct.shape, 15.0)
        spread[: ncct.shape[0] // 2] = 90.0
        noise = np.random.default_rng(number).normal(0, spread + 20)
        write_like(to_int16_hu(cta.array + noise), ncct, folder / f"{case.name}_syncta.nii.gz")
        if maps:
            write_like(to_int16_hu(spread), ncct, folder / f"{case.name}_sd.nii.gz")
    return folder


def splits(cohort: Path) -> dict[str, list[Case]]:
    return read_case_list(cohort)


@pytest.fixture
def judge(cohort: Path, tmp_path: Path) -> Callable[..., Evaluation]:
    def run(folder: Path, name: str = "noisy", **options: object) -> Evaluation:
        source = MethodSource(name, folder, is_run=False)
        return run_evaluation([source], datalist=str(cohort), output=str(tmp_path / "out"), report=False, **options)

    return run


def test_a_good_map_is_found_good_and_its_interval_holds(
    cohort: Path, judge: Callable[..., Evaluation], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = splits(cohort)
    evaluation = judge(predict(cases["validation"] + cases["testing"], tmp_path / "pred"))
    (found,) = evaluation.uncertainty
    (case,) = found.cases
    assert (found.method, found.fitted_on, case.case) == ("noisy", 1, "phantom003")
    assert case.auroc > 0.75
    assert case.left[-1] < 0.6 * case.left[0]
    assert (case.oracle <= case.left + 1e-3).all()
    for region in ("vessel", "nonvessel"):
        assert found.coverage(region) == pytest.approx(0.9, abs=0.05)
    show(evaluation, str(tmp_path / "out"), report=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "The 90 % interval, fitted on 1 validation case, holds" in said


def test_the_table_and_the_interval_are_written_and_agree(
    cohort: Path, judge: Callable[..., Evaluation], tmp_path: Path
) -> None:
    cases = splits(cohort)
    evaluation = judge(predict(cases["validation"] + cases["testing"], tmp_path / "pred"))
    with open(tmp_path / "out" / "uncertainty.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["vessel_coverage"]) == evaluation.uncertainty[0].coverage("vessel")
    (case,) = cases["testing"]
    folder = tmp_path / "out" / "intervals" / "noisy"
    low, high = (np.asanyarray(nib.load(folder / f"{case.name}_{end}.nii.gz").dataobj) for end in ("lo", "hi"))
    cta, vessel = read_ct(case.cta).array, np.asanyarray(nib.load(case.vessel).dataobj) > 0
    inside = (low <= cta) & (cta <= high)
    assert inside[vessel].mean() == pytest.approx(evaluation.uncertainty[0].coverage("vessel"))
    assert {path.name for path in folder.iterdir()} == {
        f"{case.name}_lo.nii.gz", f"{case.name}_hi.nii.gz", "interval.json",
    }  # fmt: skip


def test_without_predictions_of_validation_cases_there_is_no_interval(
    cohort: Path, judge: Callable[..., Evaluation], tmp_path: Path
) -> None:
    (found,) = judge(predict(splits(cohort)["testing"], tmp_path / "pred")).uncertainty
    assert found.interval is None
    assert "There is no interval" in found.remark
    assert found.auroc > 0.75
    assert not (tmp_path / "out" / "intervals").exists()


def test_scored_validation_cases_are_not_fitted_on(
    cohort: Path, judge: Callable[..., Evaluation], tmp_path: Path
) -> None:
    cases = splits(cohort)
    folder = predict(cases["validation"] + cases["testing"], tmp_path / "pred")
    (found,) = judge(folder, split="validation").uncertainty
    assert found.interval is None


def test_without_maps_nothing_is_said(cohort: Path, judge: Callable[..., Evaluation], tmp_path: Path) -> None:
    assert judge(predict(splits(cohort)["testing"], tmp_path / "pred", maps=False)).uncertainty == ()
    assert not (tmp_path / "out" / "uncertainty.csv").exists()


def test_a_file_that_is_no_map_is_named_and_the_scores_are_there(
    cohort: Path, judge: Callable[..., Evaluation], tmp_path: Path
) -> None:
    (case,) = splits(cohort)["testing"]
    folder = predict([case], tmp_path / "pred")
    (folder / f"{case.name}_sd.nii.gz").write_bytes(case.ncct.read_bytes())
    evaluation = judge(folder)
    assert [row["method"] for row in evaluation.rows][-1] == "noisy"
    (found,) = evaluation.uncertainty
    assert "expected standard deviations" in found.remark
    assert found.cases == ()


def test_a_map_of_an_earlier_prediction_isnt_judged(
    cohort: Path, judge: Callable[..., Evaluation], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A case that was synthesised again without its map keeps the old file, but not in its record."""
    (case,) = cases = splits(cohort)["testing"]
    folder = predict(cases, tmp_path / "pred")
    synthetic, spread = (f"{case.name}_{kind}.nii.gz" for kind in ("syncta", "sd"))
    digests = {name: sha256_of(folder / name) for name in (synthetic, spread)}
    for outputs, judged in (
        (digests, 1),
        (digests | {spread: "0"}, 0),
        ({synthetic: digests[synthetic]}, 0),
    ):
        record = folder / f"{case.name}_syncta.json"
        record.write_text(to_json({"made_from": {"settings": {}}, "outputs": outputs}))
        assert len(judge(folder).uncertainty) == judged
    assert "isn't the map of the prediction beside it" in caplog.text


def test_a_record_that_is_no_record_says_nothing(
    cohort: Path, judge: Callable[..., Evaluation], tmp_path: Path
) -> None:
    (case,) = cases = splits(cohort)["testing"]
    folder = predict(cases, tmp_path / "pred")
    (folder / f"{case.name}_syncta.json").write_text("[" * 100_000)
    assert len(judge(folder).uncertainty) == 1
