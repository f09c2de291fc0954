"""The command, end to end: predictions in, tables out; what can't be scored is named in one line."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from made_scans import edited
from monai.bundle import run as run_bundle
from scipy.ndimage import gaussian_filter

from ncct_cta.data import read_case_list
from ncct_cta.evaluate.command import main
from ncct_cta.metrics import HURemap, body_mask
from ncct_cta.settings.places import bundle_config
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.nifti_write import write_like

CASE = "phantom003"  # the cohort's only test case


def hu(path: Path) -> np.ndarray:
    return np.asanyarray(nib.load(path).dataobj)


def predict(cohort: Path, folder: Path, change: Callable[[np.ndarray], np.ndarray], name: str = CASE) -> Path:
    """Write a prediction that is made from the CTA."""
    cta = read_ct(cohort / f"{name}_cta.nii.gz")
    write_like(change(cta.array).astype(np.int16), cta, folder / f"{name}_syncta.nii.gz")
    return folder


def shifted(array: np.ndarray) -> np.ndarray:
    return array + 10


def rows(output: Path) -> dict[tuple[str, str], dict[str, float]]:
    with (output / "scores.csv").open() as file:
        lines = list(csv.DictReader(file))
    return {
        (line.pop("case"), line.pop("method")): {name: float(cell or "nan") for name, cell in line.items()}
        for line in lines
    }


def evaluate(cohort: Path, output: Path, *words: object) -> dict[tuple[str, str], dict[str, float]]:
    main(["--datalist", str(cohort), "--output", str(output), "--no-report", *map(str, words)])
    return rows(output)


def refused(capsys: pytest.CaptureFixture[str], cohort: Path, tmp_path: Path, *words: object, status: int = 2) -> str:
    """The one line that the command ends with."""
    with pytest.raises(SystemExit) as stopped:
        evaluate(cohort, tmp_path / "out", *words)
    assert stopped.value.code == status
    error = capsys.readouterr().err
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in error
    return line


def test_methods_stand_beside_the_identity_and_the_hu_remap(cohort: Path, tmp_path: Path) -> None:
    ours = predict(cohort, tmp_path / "ours", shifted)
    found = evaluate(cohort, tmp_path / "out", "--pred", f"perfect={predict(cohort, tmp_path / 'cta', np.array)}",
                     "--pred", ours)  # fmt: skip
    assert [method for _, method in found] == ["identity", "hu_remap", "perfect", "ours"]
    assert {case for case, _ in found} == {CASE}
    assert found[CASE, "ours"]["body_mae_hu"] == pytest.approx(10)
    assert found[CASE, "perfect"]["vessel_psnr_db_range4095"] == math.inf
    assert found[CASE, "identity"]["enhancement_recovery"] == 0
    remarks = json.loads((tmp_path / "out" / "summary.json").read_text())["remarks"]
    assert any("1 case: too few to conclude" in remark for remark in remarks)
    assert any("perfect's prediction of phantom003 is the CTA itself" in remark for remark in remarks)
    assert "MS-SSIM: n/a for phantom003, where the body is less than 176 voxels wide or deep." in remarks


def test_the_hu_remap_is_fitted_on_the_training_pairs_alone(cohort: Path, tmp_path: Path) -> None:
    evaluate(cohort, tmp_path / "out")
    training = read_case_list(cohort)["training"]
    fitted = HURemap((hu(case.ncct), hu(case.cta)) for case in training)
    written = tmp_path / "out" / "hu_remap" / f"{CASE}_syncta.nii.gz"
    assert np.array_equal(hu(written), fitted(hu(cohort / f"{CASE}_ncct.nii.gz")))


def test_without_training_pairs_there_is_no_hu_remap_and_the_table_says_why(cohort, tmp_path, capsys) -> None:
    found = evaluate(cohort, tmp_path / "out", "--split", "all")
    assert {method for _, method in found} == {"identity"}
    assert len(found) == 4
    assert "HU remap: n/a, because" in capsys.readouterr().out


def test_json_is_all_that_is_printed(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(cohort, tmp_path / "out", "--json")
    printed = capsys.readouterr().out
    assert json.loads(printed) == json.loads((tmp_path / "out" / "summary.json").read_text())


def test_the_table_fits_the_terminal(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(cohort, tmp_path / "out")
    table = capsys.readouterr().out
    assert "identity" in table
    assert max(map(len, table.split("figures")[0].splitlines())) <= 100


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("{}_syncta.nii.gz", True), ("{}_syncta.nii", True), ("{}.nii.gz", True), ("{}.nii", True), ("x{}.nii", False)],
)
def test_predictions_are_found_by_name(cohort, tmp_path, capsys, name: str, accepted: bool) -> None:
    cta = read_ct(cohort / f"{CASE}_cta.nii.gz")
    write_like(shifted(cta.array).astype(np.int16), cta, tmp_path / "p" / name.format(CASE))
    if accepted:
        assert evaluate(cohort, tmp_path / "out", "--pred", tmp_path / "p")[CASE, "p"]["body_bias_hu"] == 10
    else:
        line = refused(capsys, cohort, tmp_path, "--pred", tmp_path / "p")
        assert f"method p: {tmp_path / 'p'} holds no prediction of {CASE} (1 of 1 cases)" in line


def test_a_second_range_is_taken_from_the_command_line(cohort: Path, tmp_path: Path) -> None:
    names = evaluate(cohort, tmp_path / "out", "--window", "-160", "240")[CASE, "identity"]
    assert "body_psnr_db_window_-160_240" in names
    assert "body_psnr_db_range4095" in names
    assert not any("-1000_600" in name for name in names)


def normalised(array: np.ndarray) -> np.ndarray:
    return np.where(array > 0, 1, -1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            normalised,
            ["the values lie in [-1, 1]", "--pred-window LOWER UPPER", "LOWER + (x + 1) / 2 * (UPPER - LOWER)"],
        ),
        (lambda array: (array + 1024) / 16, ["the values lie in [", "x / 255 * (UPPER - LOWER)"]),
    ],
    ids=["-1..1", "0..255"],
)
def test_normalised_predictions_are_refused(cohort, tmp_path, capsys, change, words) -> None:
    line = refused(capsys, cohort, tmp_path, "--pred", predict(cohort, tmp_path / "p", change))
    assert all(word in line for word in words)
    assert f"{CASE}_syncta.nii.gz" in line


@pytest.mark.parametrize(
    "change",
    [lambda hu: hu // 1000, lambda hu: (hu.clip(-1000, 600) + 1000) * (255 / 1600), lambda hu: hu + 1024],
    ids=["-1..1", "0..255", "shifted"],
)
def test_a_body_that_is_not_in_hu_is_refused_whatever_the_air_around(cohort, tmp_path, capsys, change) -> None:
    body = body_mask(hu(cohort / f"{CASE}_ncct.nii.gz"), (7.0, 7.0, 10.5))
    folder = predict(cohort, tmp_path / "p", lambda cta: np.where(body, change(cta), -1024))
    line = refused(capsys, cohort, tmp_path, "--pred", folder)
    assert f"{CASE}_syncta.nii.gz: the values lie in [" in line
    assert "give the CT in HU" in line


@pytest.mark.parametrize(
    "change",
    [
        lambda cta: cta + np.random.default_rng(0).normal(0, 300, cta.shape),
        lambda cta: gaussian_filter(cta.astype(np.float32), 3),
        lambda cta: cta + 200,
        lambda cta: cta[::-1],
    ],
    ids=["noisy", "blurred", "too bright", "mirrored"],
)
def test_a_poor_prediction_in_hu_is_scored(cohort, tmp_path, change) -> None:
    assert (CASE, "p") in evaluate(cohort, tmp_path / "out", "--pred", predict(cohort, tmp_path / "p", change))


def test_another_grid_is_refused(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = predict(cohort, tmp_path / "p", shifted)
    image = nib.load(folder / f"{CASE}_syncta.nii.gz")
    nib.save(nib.Nifti1Image(hu(folder / f"{CASE}_syncta.nii.gz")[:-1], image.affine), folder / f"{CASE}_syncta.nii.gz")
    line = refused(capsys, cohort, tmp_path, "--pred", folder)
    assert "the NCCT is (48, 48, 24)" in line
    assert "is (47, 48, 24)" in line


def test_a_prediction_in_another_axis_order_is_the_same_prediction(cohort: Path, tmp_path: Path) -> None:
    folder = predict(cohort, tmp_path / "p", shifted)
    expected = evaluate(cohort, tmp_path / "out", "--pred", folder)
    path = folder / f"{CASE}_syncta.nii.gz"
    nib.save(nib.load(path).as_reoriented(np.array([[1, -1], [2, 1], [0, -1]])), path)
    turned = evaluate(cohort, tmp_path / "turned", "--pred", folder)
    assert turned[CASE, "p"] == pytest.approx(expected[CASE, "p"], nan_ok=True)


def test_the_ncct_in_the_predictions_place_is_refused(cohort, tmp_path, capsys) -> None:
    ncct = hu(cohort / f"{CASE}_ncct.nii.gz")
    folder = predict(cohort, tmp_path / "p", lambda cta: ncct)
    assert f"is the NCCT of {CASE}, voxel for voxel" in refused(capsys, cohort, tmp_path, "--pred", folder)


@pytest.mark.parametrize("masks", [("lung", "vessel"), ()], ids=["masks", "no masks"])
def test_swapped_ncct_and_cta_are_refused(cohort, tmp_path, capsys, masks: tuple[str, ...]) -> None:
    kinds = {"ncct": "cta", "cta": "ncct", **{kind: kind for kind in masks}}
    entry = {kind: str(cohort / f"{CASE}_{other}.nii.gz") for kind, other in kinds.items()}
    swapped = {"testing": [{"case": "p", **entry}]}
    (tmp_path / "datalist.json").write_text(json.dumps(swapped))
    assert "the two are swapped" in refused(capsys, tmp_path / "datalist.json", tmp_path)


def test_one_prediction_for_two_cases_is_refused(cohort, tmp_path, capsys, caplog) -> None:
    folder = tmp_path / "p"
    for name in ("phantom000", "phantom001", "phantom002", "phantom003"):
        predict(cohort, folder, shifted, name)
    shutil.copy(folder / "phantom000_syncta.nii.gz", folder / "phantom002_syncta.nii.gz")
    line = refused(capsys, cohort, tmp_path, "--pred", folder, "--split", "all", status=3)
    assert "2 of 4 cases can't be scored, for the reasons above: phantom000, phantom002" in line
    assert "the predictions of phantom000 and phantom002 are the same voxel for voxel" in caplog.text


def test_another_patients_prediction_is_remarked(cohort, tmp_path, capsys) -> None:
    evaluate(cohort, tmp_path / "out", "--pred", predict(cohort, tmp_path / "p", lambda cta: cta[:, ::-1]))
    assert "another anatomy than the NCCT" in " ".join(capsys.readouterr().out.split())


def test_all_bad_cases_are_named_in_one_line_after_their_reasons(cohort, tmp_path, capsys, caplog) -> None:
    folder = tmp_path / "p"
    for name in ("phantom000", "phantom001", "phantom002", "phantom003"):
        predict(cohort, folder, normalised if name in ("phantom000", "phantom002") else shifted, name)
    line = refused(capsys, cohort, tmp_path, "--pred", folder, "--split", "all", status=3)
    for number, expected in enumerate((True, False, True, False)):
        assert (f"phantom00{number}" in line) == expected
        assert (f"phantom00{number}_syncta.nii.gz: the values lie in" in caplog.text) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pred", "nowhere"], "nowhere: there is no such folder; give a folder of predictions"),
        (["--run", "nowhere"], "nowhere: there is no such folder; give a folder of a run"),
        (["--split", "tests"], "split 'tests': expected training, validation, testing or all"),
        (["--window", "240", "-160"], "window is [240.0, -160.0], expected the lower and the upper end"),
        (["--window", "0", "1e-9"], "window is [0.0, 1e-09], expected the lower and the upper end"),
        (["--pred-window", "0", "1e9"], "pred_window is [0.0, 1000000000.0], expected the lower and the upper end"),
        (["--jobs", "-1"], "jobs is -1"),
        (["--pred", "identity=."], "the name 'identity' is a baseline's"),
        (["--pred", "HU remap=."], "the name 'HU remap' is a baseline's"),
        (["--pred", "CTA=."], "the name 'CTA' is an image's in the report"),
        (["--pred", "a=.", "--pred", "a=.."], "the name 'a' is"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(cohort, tmp_path, capsys, words: list[str], message: str) -> None:
    assert message in refused(capsys, cohort, tmp_path, *words)


def test_without_cases_there_is_nothing_to_do(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--output", str(tmp_path)])
    assert "neither --datalist nor --run is given" in capsys.readouterr().err


def cohort_without_masks(cohort: Path, folder: Path) -> Path:
    entry = {"case": "p", "ncct": str(cohort / f"{CASE}_ncct.nii.gz"), "cta": str(cohort / f"{CASE}_cta.nii.gz")}
    folder.mkdir()
    (folder / "datalist.json").write_text(json.dumps({"testing": [entry]}))
    return folder


def test_missing_masks_are_computed_written_and_remarked(cohort, tmp_path, capsys) -> None:
    found = evaluate(cohort_without_masks(cohort, tmp_path / "list"), tmp_path / "out")
    assert found["p", "identity"]["vessel_mae_hu"] > 100
    assert math.isfinite(found["p", "identity"]["lung_mae_hu"])
    assert {path.name for path in (tmp_path / "out" / "masks").glob("*.nii.gz")} == {"p_lung.nii.gz", "p_vessel.nii.gz"}
    printed = " ".join(capsys.readouterr().out.split())
    assert "No vessel mask was given for p: where the CTA enhances by over 80 HU." in printed
    assert "No lung mask was given for p: computed from the NCCT." in printed


def test_a_region_that_is_empty_is_not_available(cohort: Path, tmp_path: Path, capsys) -> None:
    cases = cohort_without_masks(cohort, tmp_path / "list")
    ncct = read_ct(cohort / f"{CASE}_ncct.nii.gz")
    for kind, array in (("ncct", ncct.array.clip(-1000, 40)), ("cta", ncct.array.clip(-1000, 41))):
        array[ncct.array < -500] = -1000 if kind == "ncct" else -990  # gas, no lung
        write_like(array, ncct, cases / f"{kind}.nii.gz")
    (cases / "datalist.json").write_text(
        json.dumps({"testing": [{"case": "p", "ncct": "ncct.nii.gz", "cta": "cta.nii.gz"}]})
    )
    found = evaluate(cases, tmp_path / "out")["p", "identity"]
    unknown = [name for name, score in found.items() if math.isnan(score)]
    assert math.isfinite(found["body_mae_hu"])
    for start in ("lung_", "vessel_", "nonvessel_", "enhancement_"):
        assert [name for name in found if name.startswith(start)] == [
            name for name in unknown if name.startswith(start)
        ]
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("and none was found: its scores are n/a there.") == 2


def cohort_of_six_with_one_that_enhances(cohort: Path, folder: Path) -> Path:
    folder.mkdir()
    for number in range(6):
        kinds = {"ncct": "ncct", "cta": "ncct" if number else "cta", "lung": "lung"}
        for kind, source in kinds.items():
            shutil.copy(cohort / f"{CASE}_{source}.nii.gz", folder / f"p{number}_{kind}.nii.gz")
    entries = [{"case": f"p{n}", **{kind: f"p{n}_{kind}.nii.gz" for kind in kinds}} for n in range(6)]
    (folder / "datalist.json").write_text(json.dumps({"testing": entries}))
    return folder


def test_a_score_that_most_cases_lack_is_too_few_to_conclude_from(cohort, tmp_path, capsys) -> None:
    evaluate(cohort_of_six_with_one_that_enhances(cohort, tmp_path / "list"), tmp_path / "out")
    printed = " ".join(capsys.readouterr().out.split())
    assert "* MAE, vessels (1 of 6 cases); " in printed
    assert "detail found of the CTA's, vessels in the lungs (1 of 6 cases): too few to conclude." in printed


def test_what_a_case_lacks_is_said_with_the_reason(cohort, tmp_path) -> None:
    folder = cohort_of_six_with_one_that_enhances(cohort, tmp_path / "list")
    for kind in ("ncct", "cta", "lung"):  # too thin for SSIM
        image = nib.load(folder / f"p0_{kind}.nii.gz")
        nib.save(image.slicer[:, :, 8:16], folder / f"p0_{kind}.nii.gz")
    evaluate(folder, tmp_path / "out")
    remarks = json.loads((tmp_path / "out" / "summary.json").read_text())["remarks"]
    assert "SSIM: n/a for p0, where there are fewer than 11 slices, or the body is as small." in remarks
    others = "p1, p2, p3, p4, p5"
    assert f"Dice, clDice, volume, branches: n/a for {others}, where the CTA shows no vessel above 150 HU." in remarks
    assert f"detail, energy: n/a for {others}, where no vessel is marked in the lungs." in remarks


@pytest.mark.slow
def test_processes_side_by_side_change_no_figure(cohort: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    for name in ("phantom000", "phantom001", "phantom002", "phantom003"):
        predict(cohort, folder, shifted, name)
    words = ("--pred", folder, "--split", "all")
    serial = evaluate(cohort, tmp_path / "serial", *words, "--jobs", 1)
    parallel = evaluate(cohort, tmp_path / "parallel", *words, "--jobs", 2)
    assert len(serial) == 8
    for name in ("scores.csv", "summary.csv", "summary.json"):
        assert (tmp_path / "serial" / name).read_bytes() == (tmp_path / "parallel" / name).read_bytes()
    assert serial.keys() == parallel.keys()


def test_a_run_is_synthesised_first_and_its_predictions_are_used_again(trained_run, cohort, tmp_path) -> None:
    def mtime() -> int:
        return (tmp_path / "out" / "predictions" / "G" / f"{CASE}_syncta.nii.gz").stat().st_mtime_ns

    run = shutil.copytree(trained_run, tmp_path / "run")
    words = ["--run", f"G={run}", "--output", str(tmp_path / "out"), "--no-report", "--device", "cpu"]
    main(words)  # the case list is the run's own
    first = (tmp_path / "out" / "scores.csv").read_text()
    assert [method for _, method in rows(tmp_path / "out")] == ["identity", "hu_remap", "G"]
    made = mtime()
    main(words)
    assert mtime() == made
    checkpoint = run / "checkpoint_best.pt"
    checkpoint.write_bytes(checkpoint.read_bytes())  # trained anew
    main(words)
    assert mtime() > made
    assert (tmp_path / "out" / "scores.csv").read_text() == first


def test_cases_that_a_run_was_trained_on_are_remarked(trained_run, tmp_path, capsys) -> None:
    main(["--run", f"G={trained_run}", "--split", "training", "--output", str(tmp_path), "--no-report"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "G was trained on phantom000, phantom001: its figures there say nothing about new patients." in printed


def test_an_external_test_list_has_an_hu_remap_too(trained_run, cohort, tmp_path) -> None:
    external = cohort_without_masks(cohort, tmp_path / "list")
    found = evaluate(external, tmp_path / "out", "--run", f"G={trained_run}", "--device", "cpu")
    assert [method for _, method in found] == ["identity", "hu_remap", "G"]


def test_a_run_whose_case_list_is_gone_asks_for_another(trained_run, cohort, tmp_path, capsys) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["datalist"] = str(tmp_path / "gone")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    words = ["--run", f"G={run}", "--output", str(tmp_path / "out"), "--no-report", "--device", "cpu"]
    with pytest.raises(SystemExit):
        main(words)
    assert "gone, isn't there; give the cases with --datalist" in capsys.readouterr().err
    main([*words, "--datalist", str(cohort)])
    assert "can't be read; was it trained on these cases?" in " ".join(capsys.readouterr().out.split())


def test_a_run_of_another_window_than_the_firsts_is_remarked(trained_run, cohort, tmp_path, capsys) -> None:
    run = edited(trained_run, tmp_path / "run", window=[-1000.0, 1000.0])
    evaluate(cohort, tmp_path / "out", "--run", f"G={trained_run}", "--run", f"wide={run}", "--device", "cpu")
    remark = "in the first run's window, [-1000, 600] HU; not trained in it: wide ([-1000, 1000])."
    assert remark in " ".join(capsys.readouterr().out.split())


def test_a_network_that_changes_nothing_is_remarked(trained_run, tmp_path, capsys) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    checkpoint = torch.load(run / "checkpoint_best.pt", weights_only=True)
    checkpoint["ema"] = {name: torch.zeros_like(value) for name, value in checkpoint["ema"].items()}
    torch.save(checkpoint, run / "checkpoint_best.pt")
    main(["--run", f"G={run}", "--output", str(tmp_path / "out"), "--no-report", "--device", "cpu"])
    assert f"G changes nothing in {CASE}: its prediction is the NCCT." in " ".join(capsys.readouterr().out.split())


def test_the_bundle_writes_what_the_command_writes(cohort: Path, tmp_path: Path) -> None:
    ours = predict(cohort, tmp_path / "ours", shifted)
    evaluate(cohort, tmp_path / "command", "--pred", ours)
    run_bundle(
        "evaluating", config_file=bundle_config("evaluate.yaml"), logging_file=False, datalist=str(cohort),
        pred=str(ours), output=str(tmp_path / "bundle"), report=False,
    )  # fmt: skip
    for name in ("scores.csv", "summary.csv", "summary.json"):
        assert (tmp_path / "command" / name).read_bytes() == (tmp_path / "bundle" / name).read_bytes()


def test_the_bundle_refuses_to_score_the_baselines_alone(cohort: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        run_bundle(
            "evaluating", config_file=bundle_config("evaluate.yaml"), logging_file=False, datalist=str(cohort),
            run=str(cohort), output=str(tmp_path / "bundle"), report=False,
        )  # fmt: skip
    assert "neither pred nor run_dir is given" in capsys.readouterr().err


def test_the_command_ends_with_the_report(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--datalist", str(cohort), "--output", str(tmp_path)])
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert capsys.readouterr().out.splitlines()[-1] == f"report   {tmp_path / 'report.html'}"


def test_a_run_that_is_named_as_a_baseline_stands_before_the_methods(cohort, trained_run, tmp_path, capsys) -> None:
    ours = predict(cohort, tmp_path / "ours", shifted)
    found = evaluate(cohort, tmp_path / "out", "--pred", ours, "--baseline", f"unet={trained_run}")
    assert [method for _, method in found] == ["identity", "hu_remap", "unet", "ours"]
    printed = " ".join(capsys.readouterr().out.split())
    assert "identity ours " in printed.split("p against p against")[1]  # ours is what the others are compared with
