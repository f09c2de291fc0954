"""DICOM in, NIfTI and DICOM out: geometry, validity, what is kept of the source and what isn't."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import chest_hu, count_header_reads, write_series
from monai.bundle import run
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from shared_data import SHARED_DATA

from ncct_cta.dicom import derived, headers
from ncct_cta.dicom.pseudonyms import KEY_FILE
from ncct_cta.dicom.series import find_series
from ncct_cta.infer.command import main
from ncct_cta.prepare.scan import listing, options
from ncct_cta.settings.places import bundle_config

SHAPE = (40, 36, 5)
REAL = SHARED_DATA / "dicom" / "lungdx_a0002"
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="needs the real series beside the checkout: shared/data/dicom"
)
needs_validator = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="needs dciodvfy, of Debian's package dicom3tools"
)

# fmt: off
KEPT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyInstanceUID", "StudyDate",
    "StudyDescription", "FrameOfReferenceUID", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "PatientPosition", "KVP", "SpecificCharacterSet", "AcquisitionDate",
)
OFTEN_MISSING = (
    "PatientName", "PatientBirthDate", "PatientSex", "StudyTime", "StudyID", "AccessionNumber", "AcquisitionNumber",
    "ReferringPhysicianName", "PositionReferenceIndicator", "FrameOfReferenceUID", "KVP", "Manufacturer",
    "ManufacturerModelName", "SeriesNumber", "PatientPosition", "SliceThickness",
)
# fmt: on


def _infer(run: Path, source: Path, output: Path, *words: str) -> None:
    main(["--run", str(run), "--input", str(source), "--output", str(output), "--device", "cpu", *words])


def _outputs(output: Path) -> tuple[Path, Path]:
    """The only NIfTI file and the only DICOM folder."""
    (nifti,) = output.glob("*_syncta.nii.gz")
    (folder,) = output.glob("*_syncta_dicom")
    assert folder.name == nifti.name.removesuffix(".nii.gz") + "_dicom"
    return nifti, folder


def _headers(folder: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(folder.iterdir())]


def _by_sitk(path: Path) -> sitk.Image:
    """A NIfTI file, or the only series of a DICOM folder, as SimpleITK reads it."""
    if path.is_file():
        return sitk.ReadImage(str(path))
    reader = sitk.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(path))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path), series))
    return reader.Execute()


def _require_one_grid(a: sitk.Image, b: sitk.Image) -> None:
    assert a.GetSize() == b.GetSize()
    for kind in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(a, kind)(), getattr(b, kind)(), atol=1e-4)


def _require_equal(a: sitk.Image, b: sitk.Image) -> None:
    _require_one_grid(a, b)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(a), sitk.GetArrayFromImage(b))


def _contrast(z: int, dataset: Dataset) -> None:
    dataset.ContrastBolusAgent, dataset.ContrastBolusVolume = "IODINE", 80
    dataset.PatientName, dataset.SpecificCharacterSet = "M\u00fcller^J\u00f6rg", "ISO_IR 100"
    dataset.PatientAge, dataset.StudyDescription = "070Y", "Thorax nativ"
    dataset.add_new((0x0009, 0x0010), "LO", "PRIVATE MAKER")
    dataset.add_new((0x0009, 0x1001), "LO", "secret of the maker")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dicom") / "series"
    write_series(folder, chest_hu(SHAPE), _contrast)
    return folder


@pytest.fixture(scope="module")
def output(source: Path, trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    _infer(trained_run, source, folder, "--dicom")
    return folder


def test_the_nifti_has_the_series_geometry_as_simpleitk_reads_it(source: Path, output: Path) -> None:
    _require_one_grid(_by_sitk(_outputs(output)[0]), _by_sitk(source))


def test_the_dicom_series_is_one_volume_with_the_niftis_hu(output: Path) -> None:
    nifti, folder = _outputs(output)
    _require_equal(_by_sitk(folder), _by_sitk(nifti))


def test_patient_study_and_place_are_kept_and_uids_are_new(source: Path, output: Path) -> None:
    by_position = {tuple(header.ImagePositionPatient): header for header in _headers(source)}
    headers = _headers(_outputs(output)[1])
    for header in headers:
        original = by_position.pop(tuple(header.ImagePositionPatient))
        for keyword in KEPT:
            assert header[keyword].value == original[keyword].value, keyword
        assert header.SOPInstanceUID != original.SOPInstanceUID
        assert header.SeriesInstanceUID != original.SeriesInstanceUID
        assert header.SeriesNumber != original.SeriesNumber
        (reference,) = header.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == original.SOPInstanceUID
        assert header.ReferencedSeriesSequence[0].SeriesInstanceUID == original.SeriesInstanceUID
    assert not by_position
    assert str(headers[0].PatientName) == "M\u00fcller^J\u00f6rg"
    assert len({header.SOPInstanceUID for header in headers}) == SHAPE[2]
    assert len({header.SeriesInstanceUID for header in headers}) == 1


def test_it_says_what_it_is_and_claims_no_contrast(output: Path, trained_run: Path) -> None:
    header = _headers(_outputs(output)[1])[0]
    assert list(header.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert header.SeriesDescription == "Synthetic CTA, not for diagnosis"
    assert "NOT FOR DIAGNOSIS" in header.ImageComments
    assert "NOT FOR DIAGNOSIS" in header.DerivationDescription
    assert header.BurnedInAnnotation == "NO"
    assert "ContrastBolusAgent" not in header
    assert "ContrastBolusVolume" not in header
    assert not [element for element in header if element.tag.is_private]


def test_software_and_model_are_in_the_contributing_equipment(output: Path, trained_run: Path) -> None:
    processing, scanner = _headers(_outputs(output)[1])[0].ContributingEquipmentSequence
    digest = subprocess.run(
        ["sha256sum", trained_run / "checkpoint_best.pt"], capture_output=True, text=True, check=True
    )
    assert processing.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert (processing.Manufacturer, processing.ManufacturerModelName) == ("ncct-cta", "ncct-cta")
    assert processing.SoftwareVersions
    assert f"checkpoint_best.pt sha256:{digest.stdout.split()[0]}" in processing.ContributionDescription
    assert (scanner.PurposeOfReferenceCodeSequence[0].CodeValue, scanner.Manufacturer) == ("109101", "Maker")


@needs_validator
def test_the_validator_finds_no_error(output: Path) -> None:
    _require_valid(_outputs(output)[1])


@needs_validator
def test_a_source_without_what_nobody_filled_in_gives_a_valid_series(trained_run: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "in", chest_hu(SHAPE), **dict.fromkeys(OFTEN_MISSING))
    _infer(trained_run, tmp_path / "in", tmp_path / "out", "--dicom")
    _require_valid(_outputs(tmp_path / "out")[1])


def _require_valid(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        result = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        errors = [line for line in result.stderr.splitlines() if line.startswith(("Error", "Abort"))]
        assert result.returncode == 0
        assert not errors, errors


def test_without_dicom_only_the_nifti_and_its_record_are_written(
    source: Path, trained_run: Path, tmp_path: Path
) -> None:
    _infer(trained_run, source, tmp_path)
    assert sorted(path.name.partition("_syncta")[2] for path in tmp_path.iterdir()) == ["", ".json", ".nii.gz"]


def test_a_case_without_its_dicom_is_made_again_and_a_whole_one_is_not(
    source: Path, trained_run: Path, tmp_path: Path
) -> None:
    _infer(trained_run, source, tmp_path)
    _infer(trained_run, source, tmp_path, "--dicom")
    _, folder = _outputs(tmp_path)
    uid = _headers(folder)[0].SeriesInstanceUID
    _infer(trained_run, source, tmp_path, "--dicom")
    assert _headers(folder)[0].SeriesInstanceUID == uid
    _infer(trained_run, source, tmp_path, "--dicom", "--overwrite")
    assert _headers(folder)[0].SeriesInstanceUID != uid
    assert len(list(folder.iterdir())) == SHAPE[2]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_pseudonyms_are_those_of_a_given_key_table(
    source: Path, output: Path, trained_run: Path, tmp_path: Path
) -> None:
    _infer(trained_run, source, tmp_path, "--keys", str(output / KEY_FILE))
    assert (tmp_path / _outputs(output)[0].name).exists()
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        (("--split", "testing"), "has no splits, expected a case list"),
        (("--series", "s123"), "there is no series s123 in the input folder"),
    ],
)
def test_what_a_dicom_folder_does_not_hold_cannot_be_chosen(
    source: Path,
    trained_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    choice: tuple[str],
    problem: str,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        _infer(trained_run, source, tmp_path, *choice)
    assert problem in capsys.readouterr().err


def test_a_case_is_named_as_scan_names_its_patient_and_series(source: Path, trained_run: Path, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    listing.run(parser.parse_args([str(source), "--output", str(tmp_path)]))
    _infer(trained_run, source, tmp_path, "--keys", str(tmp_path / KEY_FILE))
    row = (tmp_path / "series.csv").read_text().splitlines()[1].split(",")
    assert (tmp_path / f"{row[0]}_{row[1]}_syncta.nii.gz").exists()


def test_several_series_are_listed_and_the_named_one_is_used(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    write_series(folder, chest_hu(SHAPE), SeriesNumber=2)
    write_series(folder, chest_hu(SHAPE, seed=1), SeriesNumber=5)
    with pytest.raises(SystemExit, match="2"):
        _infer(trained_run, folder, output)
    message = capsys.readouterr().err
    assert "there are 2 CT series" in message
    name = message.partition(": DICOM series 5")[0].split()[-1]
    _infer(trained_run, folder, output, "--series", name)
    (written,) = output.glob("*.nii.gz")
    assert written.name.endswith(f"{name}_syncta.nii.gz")
    _infer(trained_run, folder, output, "--series", "all")
    assert len(list(output.glob("*.nii.gz"))) == 2


def test_many_series_are_listed_a_line_each(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(12):
        write_series(tmp_path / "in", chest_hu((20, 16, 2), seed=number), SeriesNumber=number)
    with pytest.raises(SystemExit, match="2"):
        _infer(trained_run, tmp_path / "in", tmp_path / "out")
    assert "there are 12 CT series in the input folder; choose by --series" in capsys.readouterr().err
    assert len([message for message in caplog.messages if "(2 images" in message]) == 12


def test_each_header_is_read_once_to_find_its_series_and_once_whole_to_derive_from_it(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (2, 5):
        write_series(tmp_path / "in", chest_hu(SHAPE, seed=number), SeriesNumber=number)
    found, derived_from = (count_header_reads(monkeypatch, module) for module in (headers, derived))
    _infer(trained_run, tmp_path / "in", tmp_path / "out", "--dicom", "--series", "all")
    assert set(found.values()) == set(derived_from.values()) == {1}
    assert len(found) == len(derived_from) == 2 * SHAPE[2]


def test_a_folder_of_other_dicom_objects_is_named(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "in", chest_hu(SHAPE), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(SystemExit, match="2"):
        _infer(trained_run, tmp_path / "in", tmp_path / "out")
    assert "holds no CT volume, expected a DICOM series: 1 x localiser" in capsys.readouterr().err


def test_a_header_that_says_contrast_is_warned_of(
    source: Path, trained_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _infer(trained_run, source, tmp_path)
    assert "its header says that contrast was given" in caplog.text


def test_damaged_files_beside_the_images_are_warned_of(
    trained_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_series(tmp_path / "in", chest_hu(SHAPE))[-1].write_bytes(b"")
    _infer(trained_run, tmp_path / "in", tmp_path / "out")
    assert "files that are empty, damaged or can't be read beside its images: 1; slices may be missing" in caplog.text


def test_what_was_written_is_no_input(source: Path, trained_run: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "in")
    for words in ((), ("--overwrite",)):
        _infer(trained_run, tmp_path / "in", tmp_path / "in" / "out", "--dicom", *words)
    reasons = [series.ignored for series in find_series(tmp_path / "in").ignored]
    assert reasons == ["synthetic CTA"]


def test_the_bundle_writes_the_same(source: Path, output: Path, trained_run: Path, tmp_path: Path) -> None:
    run(
        config_file=bundle_config("inference.yaml"),
        run_dir=str(trained_run),
        input=str(source),
        output=str(tmp_path),
        device_name="cpu",
        dicom=True,
        key_file=str(output / KEY_FILE),
    )
    for written, expected in zip(_outputs(tmp_path), _outputs(output), strict=True):
        assert written.name == expected.name
        _require_equal(_by_sitk(written), _by_sitk(expected))


def test_words_burned_into_the_source_are_not_denied(trained_run: Path, tmp_path: Path) -> None:
    write_series(tmp_path / "in", chest_hu(SHAPE), BurnedInAnnotation="YES")
    _infer(trained_run, tmp_path / "in", tmp_path / "out", "--dicom")
    assert _headers(_outputs(tmp_path / "out")[1])[0].BurnedInAnnotation == "YES"


def test_nifti_in_gives_no_dicom(
    cohort: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        _infer(trained_run, cohort / "phantom000_ncct.nii.gz", tmp_path, "--dicom")
    assert "DICOM can be written for a DICOM series only; leave out --dicom" in capsys.readouterr().err


def test_a_tilted_series_is_written_on_its_straightened_grid(trained_run: Path, tmp_path: Path) -> None:
    def tilt(z: int, dataset: Dataset) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0.9396926208, 0.3420201433]
        dataset.ImagePositionPatient = [0, 0, 2.5 * z]

    write_series(tmp_path / "in", chest_hu(SHAPE), tilt)
    _infer(trained_run, tmp_path / "in", tmp_path / "out", "--dicom")
    nifti, folder = _outputs(tmp_path / "out")
    _require_equal(_by_sitk(folder), _by_sitk(nifti))
    assert _headers(folder)[0].SourceImageSequence[0].SpatialLocationsPreserved == "NO"


@pytest.mark.parametrize("missing", ["SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"])
def test_a_source_without_an_identifier_is_synthesised_all_the_same(
    trained_run: Path, tmp_path: Path, missing: str
) -> None:
    write_series(tmp_path / "in", chest_hu(SHAPE), **{missing: None})
    _infer(trained_run, tmp_path / "in", tmp_path / "out", "--dicom")
    nifti, folder = _outputs(tmp_path / "out")
    _require_equal(_by_sitk(folder), _by_sitk(nifti))
    assert ("SourceImageSequence" in _headers(folder)[0]) == (missing != "SOPInstanceUID")
    assert len({(header.StudyInstanceUID, header.FrameOfReferenceUID) for header in _headers(folder)}) == 1


def test_what_a_killed_process_has_left_is_replaced(
    source: Path, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(derived, "_replace", die)
        killed.setattr(derived.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            _infer(trained_run, source, tmp_path, "--dicom")
    assert [path.name.endswith("_syncta_dicom.partial") for path in tmp_path.glob(".*") if path.is_dir()] == [True]
    _infer(trained_run, source, tmp_path, "--dicom")
    assert len(list(_outputs(tmp_path)[1].iterdir())) == SHAPE[2]
    assert not [path for path in tmp_path.glob(".*") if path.is_dir()]


NAME, IDENTITY, BIRTH = "Mustermann", "KH0815-77", "19570613"


def test_nothing_that_identifies_a_patient_leaves_by_another_way(
    trained_run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "in" / f"{NAME}_{IDENTITY}_{BIRTH}"
    tags = {"PatientName": f"{NAME}^Erika", "PatientID": IDENTITY, "PatientBirthDate": BIRTH}
    tags |= {"SeriesDescription": f"Thorax {NAME}", "StudyInstanceUID": generate_uid()}
    write_series(folder / "good", chest_hu(SHAPE), **tags)
    for path in write_series(folder / "bad", chest_hu(SHAPE), SeriesNumber=4, **tags)[1:3]:
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SystemExit, match="3"):
        _infer(trained_run, tmp_path / "in", tmp_path / "out", "--dicom", "--debug", "--series", "all")
    nifti, dicom = _outputs(tmp_path / "out")
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and path.parent != dicom]
    record = nifti.with_name(nifti.name.removesuffix(".nii.gz") + ".json")
    assert {path.name for path in files} == {nifti.name, record.name, KEY_FILE}
    printed = "".join(capfd.readouterr()) + caplog.text
    assert "its pixels are damaged" in printed
    contents = [
        printed.encode(),
        str(nifti).encode(),
        nib.load(nifti).to_bytes(),
        str(dicom).encode(),
        record.read_bytes(),
    ]
    for secret in (NAME, IDENTITY, BIRTH):
        assert not [content for content in contents if secret.encode() in content], secret
        assert secret in (tmp_path / "out" / KEY_FILE).read_text()
    assert str(_headers(dicom)[0].PatientName) == f"{NAME}^Erika"


@needs_real
@needs_validator
def test_a_real_series_goes_in_and_comes_out(trained_run: Path, tmp_path: Path) -> None:
    _infer(trained_run, REAL, tmp_path, "--dicom")
    nifti, folder = _outputs(tmp_path)
    _require_one_grid(_by_sitk(folder), _by_sitk(REAL))
    _require_equal(_by_sitk(folder), _by_sitk(nifti))
    _require_valid(folder)
