"""``prepare scan`` on mixed folders: the table, the files, the errors, and nothing that says who the patients are."""

from __future__ import annotations

import argparse
import csv
import stat
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import chest_hu, one_series, write_series
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from ncct_cta.common.errors import InputError
from ncct_cta.dicom.geometry import SeriesGrid, grid_of
from ncct_cta.dicom.pseudonyms import KeyTable
from ncct_cta.dicom.series import Series, choose_series
from ncct_cta.phantom.cohort import PhantomCase, make_case
from ncct_cta.prepare.scan import findings, listing, options
from ncct_cta.volumes.reading import read_volume

SPACING = (7.0, 7.0, 10.5)
LOWEST_HU = -1024  # that 12 bits hold
NAME, IDENTITY, BIRTH = "Mustermann", "KH0815-77", "19570613"


def _scan(folder: Path, output: Path, *words: str | Path) -> dict[str, list[dict[str, str]]]:
    """Run it and give the rows of series.csv and pairs.csv."""
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    listing.run(parser.parse_args([str(folder), "--output", str(output), *map(str, words)]))
    return {name: _table(output / f"{name}.csv") for name in ("series", "pairs")}


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(7, shape=(48, 48, 24), spacing=SPACING)


def _write_chest(folder: Path, hu: np.ndarray, **tags: Any) -> list[Path]:
    def place(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, z * SPACING[2]]

    hu = hu.clip(LOWEST_HU, None)
    return write_series(folder, hu, place, PixelSpacing=list(SPACING[:2]), SliceThickness=SPACING[2], **tags)


@pytest.fixture
def patient(case: PhantomCase, tmp_path: Path) -> Path:
    """A patient's folder as hospitals export it; the CTA's header lies about contrast, names are in tags and paths."""
    folder = tmp_path / "in" / f"{NAME}_{IDENTITY}_{BIRTH}"
    tags = {
        "PatientName": f"{NAME}^Erika",
        "PatientID": IDENTITY,
        "PatientBirthDate": BIRTH,
        "StudyInstanceUID": generate_uid(),
        "SeriesDescription": f"Thorax {NAME}",
    }
    _write_chest(folder / "a", case.ncct, **tags, SeriesNumber=2)
    _write_chest(folder / "b", case.cta, **tags, SeriesNumber=4, ConvolutionKernel="I30f", AcquisitionTime="102100")
    _write_chest(folder / "c", chest_hu((48, 48, 1)), **tags, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    (folder / f"{NAME}.txt").write_text(NAME)
    return tmp_path / "in"


def test_series_are_listed_with_what_was_found(
    patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row["series_number"]: row for row in _scan(patient, tmp_path / "out")["series"] if row["status"] == "ok"}
    assert set(rows) == {"2", "4"}
    for row in rows.values():
        assert (row["slices"], row["spacing_mm"], row["plane"]) == ("24", "7.00 x 7.00 x 10.50", "axial")
        assert (row["format"], row["study"], row["contrast_by_tag"]) == ("DICOM", "1", "no")
    assert [rows[number]["kernel"] for number in "24"] == ["B40f", "I30f"]
    assert [rows[number]["contrast_by_hu"] for number in "24"] == ["no", "yes"]
    assert 300 < int(rows["4"]["blood_hu"]) < 450
    assert "header says no contrast, the blood shows contrast" in rows["4"]["remark"]
    printed = capsys.readouterr().out
    assert "ignored: 1 x localiser" in printed
    assert "files that are neither DICOM nor NIfTI, NRRD or MHA: 1" in printed
    assert "keys.csv: the ONLY file with names" in printed


def test_the_pair_is_proposed_and_its_series_are_found_again(patient: Path, case: PhantomCase, tmp_path: Path) -> None:
    (pair,) = _scan(patient, tmp_path / "out")["pairs"]
    assert (pair["case"], pair["status"]) == (pair["patient"], "ok")
    assert "same study, 6 min apart" in pair["why"]
    keys = KeyTable.read(tmp_path / "out" / "keys.csv")
    for kind in ("ncct", "cta"):
        folder, series = keys.source_of(pair[kind])
        np.testing.assert_array_equal(
            read_volume(folder, series=choose_series(folder, series)).array, getattr(case, kind).clip(LOWEST_HU, None)
        )


def test_nothing_but_the_key_table_says_who_the_patient_is(
    patient: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _write_chest(patient / NAME / IDENTITY, chest_hu((48, 48, 3)), PatientName=NAME, PatientID=BIRTH)[1].write_bytes(
        b""
    )
    damaged = patient / NAME / f"{NAME}_{BIRTH}.nii.gz"
    damaged.write_bytes(b"no NIfTI")
    _scan(patient, tmp_path / "out")
    contents = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    keys = contents.pop("keys.csv")
    assert set(contents) == {"series.csv", "pairs.csv"}
    assert "error" in contents["series.csv"]
    contents["terminal"] = "".join(capfd.readouterr())
    for secret in (NAME, IDENTITY, BIRTH):
        assert secret in keys
        assert not [name for name, content in contents.items() if secret.lower() in content.lower()], secret
    assert stat.S_IMODE((tmp_path / "out" / "keys.csv").stat().st_mode) == 0o600


def test_lines_fit_a_terminal(
    patient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2, 30):
        write_series(patient / str(number), chest_hu((20, 16, 1)), ImageType=["DERIVED", "SECONDARY", "MIP"])
    monkeypatch.chdir(tmp_path)
    _scan(patient, Path("out"))
    assert max(len(line) for line in capsys.readouterr().out.splitlines() if ".csv" not in line) <= 100


def test_pseudonyms_stay_when_the_folder_is_scanned_again(patient: Path, tmp_path: Path) -> None:
    first = _scan(patient, tmp_path / "out")
    assert _scan(patient, tmp_path / "out") == first
    assert _scan(patient, tmp_path / "other", "--keys", tmp_path / "out" / "keys.csv") == first
    assert _scan(patient, tmp_path / "another") != first


def test_edited_pairs_are_moved_aside_never_overwritten(
    patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _scan(patient, tmp_path)
    (tmp_path / "pairs.csv").write_text("mine")
    _scan(patient, tmp_path)
    assert (tmp_path / "pairs.1.csv").read_text() == "mine"
    assert "yours is now pairs.1.csv" in capsys.readouterr().out
    _scan(patient, tmp_path)
    assert not (tmp_path / "pairs.2.csv").exists()


def test_pairs_that_excel_has_saved_are_moved_aside_too(patient: Path, tmp_path: Path) -> None:
    mine = "Müller".encode("cp1252")
    (tmp_path / "pairs.csv").write_bytes(mine)
    _scan(patient, tmp_path)
    assert (tmp_path / "pairs.1.csv").read_bytes() == mine


def test_pairs_that_cannot_be_moved_say_so(patient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")  # Windows: the file is open in a spreadsheet

    (tmp_path / "pairs.csv").write_text("mine")
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InputError, match=r"pairs.csv: can't be moved aside \(Permission denied\); close it"):
        _scan(patient, tmp_path)


def test_one_id_with_two_names_is_a_choice_and_both_are_kept(case: PhantomCase, tmp_path: Path) -> None:
    people = {"Alpha^Anna": case.ncct, "Beta^Bernd": case.cta}
    for name, hu in people.items():
        _write_chest(tmp_path / "in" / name, hu, PatientID="1", PatientName=name, StudyInstanceUID="1.2.3")
    (pair,) = _scan(tmp_path / "in", tmp_path / "out")["pairs"]
    assert pair["status"] == "choose"
    assert not [name for name in people if name.lower() in str(pair).lower()]
    names = {row["pseudonym"]: row["patient_name"] for row in _table(tmp_path / "out" / "keys.csv")}
    assert set(names[pair["patient"]].split(" | ")) == set(people)
    assert [names[pair["ncct"]], names[pair["cta"]]] == list(people)


def test_two_candidates_are_both_listed(patient: Path, case: PhantomCase, tmp_path: Path) -> None:
    study = _study_of(patient)
    _write_chest(patient / "d", case.cta, PatientID=IDENTITY, StudyInstanceUID=study, SeriesNumber=5)
    rows = _scan(patient, tmp_path / "out")["pairs"]
    assert [row["status"] for row in rows] == ["choose", "choose"]
    assert [row["case"] for row in rows] == [rows[0]["patient"], f"{rows[0]['patient']}_2"]


def _study_of(folder: Path) -> str:
    return str(dcmread(next(path for path in sorted(folder.rglob("IM*")))).StudyInstanceUID)


def test_one_bad_series_stops_no_other(patient: Path, case: PhantomCase, tmp_path: Path) -> None:
    _write_chest(patient / "d", case.cta, SeriesNumber=6)[5].unlink()
    rows = _scan(patient, tmp_path / "out")["series"]
    (bad,) = [row for row in rows if row["status"] == "error"]
    assert bad["series_number"] == "6"
    assert "slices are missing (1), at 52.5 mm" in bad["remark"]
    assert sum(row["status"] == "ok" for row in rows) == 2


def test_damaged_files_have_their_own_line_and_their_series_a_remark(
    patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sorted((patient / f"{NAME}_{IDENTITY}_{BIRTH}" / "b").iterdir())[0].write_bytes(b"")  # the last slice
    rows = _scan(patient, tmp_path / "out")["series"]
    assert [row["remark"][:20] for row in rows if row["slices"] == "23"] == ["files that are empty"]
    printed = capsys.readouterr().out
    assert "files that are empty, damaged or can't be read: 1; export them again" in printed
    assert "files that are neither DICOM nor NIfTI, NRRD or MHA: 1" in printed


def test_values_that_are_no_hu_are_an_error(patient: Path, case: PhantomCase, tmp_path: Path) -> None:
    _write_chest(patient / "d", case.cta, SeriesNumber=6, RescaleIntercept=None, RescaleSlope=None)
    (bad,) = [row for row in _scan(patient, tmp_path / "out")["series"] if row["status"] == "error"]
    assert "holds air near -1000" in bad["remark"]


def test_files_are_scanned_too_and_masks_left_out(case: PhantomCase, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name, hu in (("p1_ncct", case.ncct), ("p1_cta", case.cta), ("p1_lung", case.lung)):
        folder.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(hu, case.affine), folder / f"{name}.nii.gz")
    for name, hu in (("before", case.ncct), ("after", case.cta)):
        (folder / "p2").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(hu, case.affine), folder / "p2" / f"{name}.nii")
    found = _scan(folder, folder / "prepared")
    statuses = [row["status"] for row in found["series"]]
    assert sorted(statuses) == ["ignored", "ok", "ok", "ok", "ok"]
    assert [row["status"] for row in found["pairs"]] == ["ok", "ok"]
    assert len({row["patient"] for row in found["pairs"]}) == 2
    nib.save(nib.Nifti1Image(case.cta, case.affine), folder / "prepared" / "x_cta.nii.gz")
    assert _scan(folder, folder / "prepared") == found  # results are no input


def test_a_folder_that_gets_the_results_too_is_scanned(case: PhantomCase, tmp_path: Path) -> None:
    for name, hu in (("p1_NCCT", case.ncct), ("p1_CTA", case.cta)):
        nib.save(nib.Nifti1Image(hu, case.affine), tmp_path / f"{name}.nii.gz")
    (pair,) = _scan(tmp_path, tmp_path)["pairs"]  # capitals are a pair as well
    assert pair["status"] == "ok"


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    patient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(listing, "find_scans", None)  # whoever calls it fails
    with pytest.raises(InputError, match=r"the output folder .*file can't be written"):
        _scan(patient, tmp_path / "file" / "out")


def test_files_of_one_folder_are_one_patient_and_paired_by_name(case: PhantomCase, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "p1"
    folder.mkdir(parents=True)
    for visit in "ab":
        for name, hu in (("ncct", case.ncct), ("cta", case.cta)):
            nib.save(nib.Nifti1Image(hu, case.affine), folder / f"{visit}_{name}.nii.gz")
    pairs = _scan(tmp_path / "in", tmp_path / "out")["pairs"]
    assert [row["status"] for row in pairs] == ["ok", "ok"]
    assert len({row["patient"] for row in pairs}) == 1
    keys = KeyTable.read(tmp_path / "out" / "keys.csv")
    for row in pairs:
        ncct, cta = (keys.source_of(row[kind])[0].name for kind in ("ncct", "cta"))
        assert ncct.replace("ncct", "cta") == cta


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="holds neither DICOM nor NIfTI"):
        _scan(tmp_path / "in", tmp_path / "out")
    with pytest.raises(InputError, match="there is no such folder"):
        _scan(tmp_path / "missing", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_scans_at_equal_places_are_refused_as_infer_does(case: PhantomCase, tmp_path: Path) -> None:
    same = one_series()
    for kind in ("ncct", "cta"):
        _write_chest(tmp_path / "in" / kind, getattr(case, kind), **same)
    (row,) = _scan(tmp_path / "in", tmp_path / "out")["series"]
    assert row["status"] == "error"
    assert "24 positions hold two different images" in row["remark"]


def test_what_is_left_out_is_remarked(patient: Path, case: PhantomCase, tmp_path: Path) -> None:
    path = _write_chest(patient / "d", case.cta, SeriesNumber=6)[-1]
    dataset = dcmread(path)
    del dataset.ImagePositionPatient
    dataset.save_as(path)
    (row,) = [row for row in _scan(patient, tmp_path / "out")["series"] if row["slices"] == "23"]
    assert row["remark"].startswith("left out of the series: image 24 (no ImagePositionPatient)")


def test_an_unforeseen_fault_is_the_series_own(patient: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grid(series: Series) -> SeriesGrid:
        if series.first.text("SeriesNumber") == "4":
            raise ZeroDivisionError(NAME)
        return grid_of(series)

    monkeypatch.setattr(findings, "grid_of", grid)
    rows = {row["series_number"]: row for row in _scan(patient, tmp_path / "out")["series"] if row["slices"] == "24"}
    assert (rows["2"]["status"], rows["4"]["status"]) == ("ok", "error")
    assert rows["4"]["remark"].startswith("a fault of this software (ZeroDivisionError in test_scan.py")


def test_a_folder_per_patient_with_an_ncct_and_a_cta_is_a_pair(case: PhantomCase, tmp_path: Path) -> None:
    for patient in ("P001", "P002"):
        (tmp_path / "data" / patient).mkdir(parents=True)
        for name, hu in (("NCCT", case.ncct), ("CTA", case.cta)):
            nib.save(nib.Nifti1Image(hu, case.affine), tmp_path / "data" / patient / f"{name}.nii.gz")
    pairs = _scan(tmp_path / "data", tmp_path / "out")["pairs"]
    assert [row["status"] for row in pairs] == ["ok", "ok"]
    assert len({row["patient"] for row in pairs}) == 2
