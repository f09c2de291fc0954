"""Files of mixed folders end in the right volume, or are left out with the reason."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import chest_hu, one_series, write_series
from pydicom import Dataset, dcmread
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from ncct_cta.common.errors import InputError
from ncct_cta.dicom import series as series_module
from ncct_cta.dicom.headers import DicomFile, is_dicom
from ncct_cta.dicom.pixels import read_series
from ncct_cta.dicom.series import choose_series, find_series
from ncct_cta.dicom.sorting import part_images
from ncct_cta.volumes.reading import read_volume


def test_files_are_found_below_and_under_any_name_and_others_are_counted(tmp_path: Path) -> None:
    for number, path in enumerate(write_series(tmp_path)):
        (tmp_path / f"deep {number % 2}" / "er").mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / f"deep {number % 2}" / "er" / f"{number}.jpg")
    (tmp_path / "notes.dcm").write_text("no DICOM")
    (tmp_path / "empty").touch()
    inventory = find_series(tmp_path)
    assert (len(inventory.volumes), inventory.other_files, inventory.damaged) == (1, 1, (tmp_path / "empty",))
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    write_series(tmp_path / "disk")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "in")
    assert len(find_series(tmp_path / "in").volumes[0].slices) == 6


def test_files_without_preamble_are_read(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        content = path.read_bytes()
        length_of_meta = int.from_bytes(content[140:144], "little")
        path.write_bytes(content[144 + length_of_meta :])
    assert path.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_several_series_are_listed_and_none_is_chosen(tmp_path: Path) -> None:
    write_series(tmp_path, SeriesNumber=2, ConvolutionKernel="B30f")
    write_series(tmp_path, chest_hu(seed=1), SeriesNumber=5, ConvolutionKernel="B70f")
    with pytest.raises(InputError, match=r"2 CT volumes.*DICOM series \d \(6 images.*B[37]0f.*DICOM series \d \(6"):
        read_volume(tmp_path)
    second = next(series for series in find_series(tmp_path).volumes if series.first.text("SeriesNumber") == "5")
    np.testing.assert_array_equal(read_volume(tmp_path, series=second).array, chest_hu(seed=1))


def test_patients_in_one_folder_are_told_apart_even_with_one_series_uid(tmp_path: Path) -> None:
    uid = generate_uid()
    write_series(tmp_path / "a", SeriesInstanceUID=uid, PatientID="1")
    write_series(tmp_path / "b", SeriesInstanceUID=uid, PatientID="2")
    assert [series.first.text("PatientID") for series in find_series(tmp_path).volumes] == ["1", "2"]


def test_a_file_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    files = write_series(tmp_path)
    (tmp_path / "copy").write_bytes(files[2].read_bytes())
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


@pytest.mark.parametrize("keyword", ["AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime"])
def test_phases_in_one_series_are_two_volumes(tmp_path: Path, keyword: str) -> None:
    uids = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    write_series(tmp_path / "a", **uids, **{keyword: 2})
    write_series(tmp_path / "b", chest_hu(seed=1), **uids, **{keyword: 10})
    with pytest.raises(InputError, match=r"2 CT volumes.*series 3, volume 1.*series 3, volume 2"):
        read_volume(tmp_path)
    first, second = (
        read_volume(tmp_path, series=choose_series(tmp_path, f"{uids['SeriesInstanceUID']}#{part}")).array
        for part in (1, 2)
    )
    np.testing.assert_array_equal(first, chest_hu())
    np.testing.assert_array_equal(second, chest_hu(seed=1))


@pytest.mark.parametrize(
    ("keyword", "values"), [("AcquisitionNumber", (1, 2)), ("ContrastBolusAgent", ("", "Ultravist"))]
)
def test_acquisitions_whose_slices_alternate_are_two_volumes(tmp_path: Path, keyword: str, values: tuple) -> None:
    write_series(tmp_path, edit=lambda z, dataset: setattr(dataset, keyword, values[z % 2]))
    first, second = find_series(tmp_path).volumes
    for z, series in enumerate((first, second)):
        np.testing.assert_array_equal(read_series(series).hu, chest_hu()[..., z::2])


def test_acquisitions_that_follow_one_another_are_one_volume(tmp_path: Path) -> None:
    write_series(tmp_path, edit=lambda z, dataset: setattr(dataset, "AcquisitionNumber", 1 + z // 2))
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_another_matrix_or_orientation_in_one_series_is_another_volume(tmp_path: Path) -> None:
    uids = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    write_series(tmp_path / "a", **uids)
    write_series(tmp_path / "b", chest_hu((24, 16, 6)), **uids)
    coronal = [1, 0, 0, 0, 0, -1]
    write_series(tmp_path / "c", **uids, ImageOrientationPatient=coronal, edit=_along_y)
    assert [len(series.slices) for series in find_series(tmp_path).volumes] == [6, 6, 6]


def _along_y(z: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [0, 2.5 * z, 0]


IGNORED = {
    "localiser": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "projection": {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
    "no CT image (Secondary Capture Image Storage)": {"SOPClassUID": SecondaryCaptureImageStorage},
    "no CT image (RT Structure Set Storage)": {"SOPClassUID": RTStructureSetStorage},
    "no CT image (Positron Emission Tomography Image Storage)": {"SOPClassUID": PositronEmissionTomographyImageStorage},
    "no CT image (Basic Text SR Storage)": {"SOPClassUID": BasicTextSRStorage},
    "enhanced multi-frame CT, which isn't read: export it as classic CT images": {
        "SOPClassUID": EnhancedCTImageStorage
    },
    "values that are no HU (rescale type Z_EFF)": {"RescaleType": "Z_EFF"},
    "inverted values (MONOCHROME1), which aren't read: export it as MONOCHROME2": {
        "PhotometricInterpretation": "MONOCHROME1"
    },
    "PixelSpacing that isn't above 0": {"PixelSpacing": [0.8, -0.8]},
    "ImageOrientationPatient that isn't two unit vectors at right angles": {"ImageOrientationPatient": [0] * 6},
    "no ImagePositionPatient": {"ImagePositionPatient": None},
}


@pytest.mark.parametrize("reason", IGNORED)
def test_what_is_no_slice_is_ignored_with_its_reason(tmp_path: Path, reason: str) -> None:
    write_series(tmp_path / "other", **IGNORED[reason])
    with pytest.raises(InputError, match=f"no CT volume.*1 x {re.escape(reason)}"):
        read_volume(tmp_path)
    write_series(tmp_path / "ct")
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())
    assert [series.ignored for series in find_series(tmp_path).ignored] == [reason]


def test_a_localiser_within_the_series_is_left_out(tmp_path: Path) -> None:
    uids = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    write_series(tmp_path / "a", **uids)
    write_series(tmp_path / "b", chest_hu((30, 20, 1)), **uids, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_a_single_image_is_no_volume(tmp_path: Path) -> None:
    write_series(tmp_path, chest_hu((20, 16, 1)))
    with pytest.raises(InputError, match="1 x single image"):
        read_volume(tmp_path)


def test_nothing_but_damaged_headers_is_named(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        path.write_bytes(path.read_bytes()[:140])
    with pytest.raises(InputError, match="files that are empty, damaged or can't be read: 6"):
        read_volume(tmp_path)


def _unlink(path: Path) -> None:
    """A link to a file that isn't there: it can't be read, not even by root."""
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _widen(element: bytes) -> Callable[[Path], None]:
    """Flip one bit in the length of an element, given by its tag and VR."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[content.index(element, 300) + 6] ^= 1  # behind the file's meta information
        path.write_bytes(content)

    return damage


DAMAGES: dict[str, Callable[[Path], object]] = {
    "unreadable": _unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut in the meta information": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:600]),
    "odd length of Rows": _widen(b"\x28\x00\x10\x00US"),
    "odd length of SOPClassUID": _widen(b"\x08\x00\x16\x00UI"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_told_apart_from_others_and_the_series_remarks_it(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    last = write_series(tmp_path)[-1]
    (tmp_path / "notes.txt").write_text("no DICOM")
    damage(last)
    inventory = find_series(tmp_path)
    assert (inventory.damaged, inventory.other_files, inventory.ignored) == ((last,), 1, ())
    remark = "files that are empty, damaged or can't be read beside its images: 1; slices may be missing"
    assert read_series(inventory.choose()).remarks == (remark,)


def test_an_element_that_makes_no_sense_costs_no_image(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        path.write_bytes(path.read_bytes().replace(b"\x20\x00\x12\x00IS\x02\x001 ", b"\x20\x00\x12\x00IS\x02\x00.x"))
    inventory = find_series(tmp_path)
    assert (len(inventory.choose().slices), inventory.damaged) == (6, ())


def test_no_damaged_header_stops_the_search(tmp_path: Path) -> None:
    path = write_series(tmp_path)[0]
    whole, random = path.read_bytes(), np.random.default_rng(0)
    header = whole.index(b"\xe0\x7f\x10\x00")
    for _ in range(400):
        content = bytearray(whole)
        for place in random.integers(132, header, 3):
            content[place] = random.integers(256)
        path.write_bytes(content)
        found = find_series(tmp_path)
        images = sum(len(series.slices) for series in (*found.volumes, *found.ignored))
        assert images + len(found.damaged) + found.other_files == 6  # none vanishes


@pytest.mark.parametrize("element", [b"\x08\x00\x16\x00UI", b"\x08\x00\x18\x00UI", b"\x20\x00\x0d\x00UI"])
def test_a_damaged_header_is_not_quoted(
    tmp_path: Path, element: bytes, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    path = write_series(tmp_path, PatientName="Doe^Jane")[0]
    for bit in (1, 2, 4, 8, 16, 32, 64, 128):
        content = bytearray(path.read_bytes())
        content[content.index(element, 300) + 6] ^= bit
        (tmp_path / "damaged").write_bytes(content)
        _ = find_series(tmp_path).why_none
    assert not caplog.records
    assert not list(recwarn)


def test_a_disks_table_of_contents_is_no_image(tmp_path: Path) -> None:
    content = write_series(tmp_path)[0].read_bytes()
    (tmp_path / "DICOMDIR").write_bytes(
        content[:400].replace(CTImageStorage.encode(), b"1.2.840.10008.1.3.10\0\0\0\0\0")
    )
    inventory = find_series(tmp_path)
    assert (inventory.other_files, inventory.damaged) == (1, ())


def test_images_that_all_carry_one_uid_are_no_copies(tmp_path: Path) -> None:
    write_series(tmp_path, SOPInstanceUID="1.2.3")  # careless anonymisation
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_two_scans_without_uids_are_no_copies_of_one(tmp_path: Path) -> None:
    same = one_series()
    for seed in range(2):
        write_series(tmp_path / str(seed), chest_hu(seed=seed), **same, SOPInstanceUID=None)
    with pytest.raises(InputError, match="6 positions hold two different images"):
        read_volume(tmp_path)


EDGE_FAULTS = {
    "no ImagePositionPatient": lambda dataset: delattr(dataset, "ImagePositionPatient"),
    "single image with another FrameOfReferenceUID": lambda dataset: setattr(dataset, "FrameOfReferenceUID", "1.2.3"),
    "single image with another PixelSpacing": lambda dataset: setattr(dataset, "PixelSpacing", [0.9, 0.7]),
    "values that are no HU (rescale type Z_EFF)": lambda dataset: setattr(dataset, "RescaleType", "Z_EFF"),
}


@pytest.mark.parametrize("reason", EDGE_FAULTS)
def test_an_edge_slice_that_is_left_out_is_named_with_its_reason(tmp_path: Path, reason: str) -> None:
    write_series(tmp_path, edit=lambda z, dataset: EDGE_FAULTS[reason](dataset) if z == 5 else None)
    series = choose_series(tmp_path)
    assert len(series.slices) == 5
    assert read_series(series).remarks == (f"left out of the series: image 6 ({reason})",)


def test_an_inner_slice_that_is_left_out_is_the_cause_of_the_gap(tmp_path: Path) -> None:
    write_series(tmp_path, edit=lambda z, dataset: delattr(dataset, "ImagePositionPatient") if z == 3 else None)
    with pytest.raises(InputError, match=r"missing \(1\).*left out: image 4 \(no ImagePositionPatient\); export"):
        read_volume(tmp_path)


def test_many_images_that_are_left_out_stay_one_line(tmp_path: Path) -> None:
    write_series(
        tmp_path,
        chest_hu((20, 16, 40)),
        lambda z, dataset: delattr(dataset, "ImagePositionPatient") if z > 20 else None,
    )
    remark = choose_series(tmp_path).remark
    assert remark == "left out of the series: images 22, 23 and 17 more (no ImagePositionPatient)"


@pytest.mark.parametrize("spelling", ["Houndsfield Unit", "HOUNSFIELD UNITS", "Hounsfield", "hu", "US", "H.U."])
def test_hounsfield_units_are_known_however_they_are_spelt(tmp_path: Path, spelling: str) -> None:
    write_series(tmp_path, RescaleType=spelling)
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


@pytest.mark.parametrize(("route", "names"), [("IV", True), ("INTRAVENOUS", True), ("", False), ("none", False)])
def test_a_route_is_a_sign_of_contrast(tmp_path: Path, route: str, names: bool) -> None:
    write_series(tmp_path, ContrastBolusRoute=route)
    assert choose_series(tmp_path).names_contrast is names


def test_a_decimal_comma_is_the_cause_that_is_named(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        spacing = b"\x28\x00\x30\x00DS\x08\x000.9\\0.8 "
        content = path.read_bytes()
        assert spacing in content
        path.write_bytes(content.replace(spacing, spacing.replace(b".", b",")))
    message = re.escape(r"PixelSpacing with a decimal comma ('0,9'), expected a point: correct it (dcmodify)")
    with pytest.raises(InputError, match=message):
        read_volume(tmp_path)


def test_a_million_frames_are_refused_by_the_header(tmp_path: Path) -> None:
    write_series(tmp_path, NumberOfFrames=1_000_000)
    started = time.monotonic()
    with pytest.raises(InputError, match="1000000 frames in one CT image, which aren't read"):
        read_volume(tmp_path)
    assert time.monotonic() - started < 5


def test_an_unforeseen_fault_is_its_series_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "good")
    write_series(tmp_path / "bad", SeriesNumber=666)

    def part(files: list[DicomFile]) -> object:
        if files[0].text("SeriesNumber") == "666":
            raise KeyError(str(tmp_path))
        return part_images(files)

    monkeypatch.setattr(series_module, "part_images", part)
    inventory = find_series(tmp_path)
    assert len(inventory.volumes) == 1
    (bad,) = inventory.ignored
    assert bad.ignored.startswith("a fault of this software (KeyError in test_series.py, line ")


def test_a_file_that_inflates_to_a_thousand_times_its_size_is_not_inflated(tmp_path: Path, monkeypatch) -> None:
    path = write_series(tmp_path)[0]
    dataset = dcmread(path)
    dataset.add_new(0x00091001, "OB", bytes(2**21))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    assert find_series(tmp_path).damaged == ()
    monkeypatch.setattr("ncct_cta.dicom.headers.MOST_DEFLATED_BYTES", 1000)
    assert find_series(tmp_path).damaged == (path,)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    write_series(tmp_path)
    os.mkfifo(tmp_path / "IM_pipe")
    inventory = find_series(tmp_path)
    assert len(inventory.volumes) == len(inventory.damaged) == 1
    assert not is_dicom(tmp_path / "IM_pipe")
