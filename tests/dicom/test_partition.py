"""What makes two volumes: tags, time, numbering, HU by turns; and what doesn't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_phantom import SPACING, chest_hu, one_series, write_series
from pydicom import Dataset
from pydicom.uid import generate_uid

from ncct_cta.common.errors import InputError
from ncct_cta.dicom.series import choose_series, find_series
from ncct_cta.phantom.cohort import PhantomCase, make_case
from ncct_cta.volumes.reading import read_volume

MM = (7.0, 7.0, 5.0)
STEP = SPACING[2]


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(7, shape=(48, 48, 40), spacing=MM)


def place(first: float, step: float) -> Callable[[int, Dataset], None]:
    """Put the slices where their scan starts, ``step`` mm apart."""

    def edit(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, first + z * step]

    return edit


def write_scan(folder: Path, hu: np.ndarray, edit: Callable[[int, Dataset], None], **tags: Any) -> list[Path]:
    return write_series(folder, hu.clip(-1024), edit, PixelSpacing=list(MM[:2]), **tags)


# An element that the two scans of a series have otherwise.
SCANS = {
    "StudyInstanceUID": (generate_uid(), generate_uid()),
    "FrameOfReferenceUID": (generate_uid(), generate_uid()),
    "AcquisitionNumber": (1, 2),
    "AcquisitionTime": ("101500", "102100"),
    "ContrastBolusAgent": ("", "ULTRAVIST"),
    "ContrastBolusRoute": ("", "IV"),
    "SeriesDescription": ("nativ", "CTA"),
    "ConvolutionKernel": ("B40f", "I30f"),
    "KVP": (120, 80),
}


@pytest.mark.parametrize("keyword", SCANS)
@pytest.mark.parametrize("shift", [0.0, STEP / 2], ids=["equal places", "half a step apart"])
def test_two_scans_in_one_series_are_two_volumes_by_any_of_their_tags(
    tmp_path: Path, keyword: str, shift: float
) -> None:
    same = one_series()
    for number, value in enumerate(SCANS[keyword]):
        tags = {**same, keyword: value}
        write_series(tmp_path / str(number), chest_hu(seed=number), place(number * shift, STEP), **tags)
    volumes = find_series(tmp_path).volumes
    assert [volume.key for volume in volumes] == [f"{same['SeriesInstanceUID']}#{part}" for part in (1, 2)]
    found = [read_volume(tmp_path, series=volume).array for volume in volumes]
    expected = [chest_hu(seed=number) for number in range(2)]
    assert any(all(map(np.array_equal, found, order)) for order in (expected, expected[::-1]))


def _slowly(z: int, dataset: Dataset, minute: int) -> None:
    place(0.0, STEP)(z, dataset)
    dataset.AcquisitionTime = f"10{minute:02d}{z:02d}.{z}00"


def test_two_scans_are_told_apart_by_the_minutes_between_them(tmp_path: Path) -> None:
    same = one_series()
    for seed, minute in enumerate((15, 21)):
        write_series(
            tmp_path / str(seed),
            chest_hu(seed=seed),
            lambda z, dataset, minute=minute: _slowly(z, dataset, minute),
            **same,
        )
    found = [read_volume(tmp_path, series=volume).array for volume in find_series(tmp_path).volumes]
    np.testing.assert_array_equal(found, [chest_hu(seed=seed) for seed in range(2)])


def test_scans_half_a_step_apart_without_a_tag_are_told_apart_by_their_hu(case: PhantomCase, tmp_path: Path) -> None:
    same = one_series()
    write_scan(tmp_path / "a", case.ncct, place(0, MM[2]), **same)
    write_scan(tmp_path / "b", case.cta, place(MM[2] / 2, MM[2]), **same)
    with pytest.raises(InputError, match="the folder holds 2 CT volumes"):
        read_volume(tmp_path)
    found = [read_volume(tmp_path, series=volume).array for volume in find_series(tmp_path).volumes]
    np.testing.assert_array_equal(found, [case.ncct.clip(-1024), case.cta.clip(-1024)])


@pytest.mark.parametrize("name", ["ncct", "cta"])
def test_one_scan_is_not_parted_by_its_hu(case: PhantomCase, tmp_path: Path, name: str) -> None:
    write_scan(tmp_path, getattr(case, name), place(0, MM[2]))
    assert len(find_series(tmp_path).volumes) == 1


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_an_identifier_that_every_image_has_to_itself_separates_nothing(tmp_path: Path, keyword: str) -> None:
    write_series(tmp_path, edit=lambda z, dataset: setattr(dataset, keyword, generate_uid()))
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_all_identifiers_per_image_still_make_one_volume_per_series_number(tmp_path: Path) -> None:
    def anonymise(z: int, dataset: Dataset) -> None:
        for keyword in ("FrameOfReferenceUID", "SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, generate_uid())

    for number in (2, 5):
        write_series(tmp_path, chest_hu(seed=number), anonymise, SeriesNumber=number)
    volumes = find_series(tmp_path).volumes
    assert sorted(volume.first.text("SeriesNumber") for volume in volumes) == ["2", "5"]
    key = volumes[0].key
    assert choose_series(tmp_path, key).first.text("SeriesNumber") == volumes[0].first.text("SeriesNumber")


def test_single_images_of_several_series_make_no_volume(tmp_path: Path) -> None:
    for number in range(4):  # a bolus' timing: one place again and again
        write_series(tmp_path, chest_hu((20, 16, 1), number), SeriesNumber=3, PatientID="1", StudyInstanceUID="1.2")
    assert not find_series(tmp_path).volumes


def test_slices_with_a_wrong_value_stay_in_their_volume(tmp_path: Path) -> None:
    hu = chest_hu((20, 16, 12))
    write_series(tmp_path, hu, lambda z, dataset: z in (3, 8) and setattr(dataset, "AcquisitionNumber", 7))
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


def test_values_that_come_again_by_chance_part_nothing(tmp_path: Path) -> None:
    times = np.random.default_rng(0).permutation(np.repeat(np.arange(15), 2))
    hu = chest_hu((20, 16, 30))
    write_series(tmp_path, hu, lambda z, dataset: setattr(dataset, "TriggerTime", int(times[z])))
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


def test_two_passes_that_overlap_are_two_volumes_by_their_numbers(tmp_path: Path) -> None:
    same = one_series()
    write_series(tmp_path / "a", chest_hu(), place(0, STEP), **same)
    write_series(
        tmp_path / "b",
        chest_hu(seed=1),
        lambda z, dataset: (place(4 * STEP + 1, STEP)(z, dataset), setattr(dataset, "InstanceNumber", 7 + z)),
        **same,
    )
    found = [read_volume(tmp_path, series=volume).array for volume in find_series(tmp_path).volumes]
    np.testing.assert_array_equal(found, [chest_hu(), chest_hu(seed=1)])
