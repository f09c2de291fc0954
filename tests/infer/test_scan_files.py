"""Which scans an inference runs on, and what their outputs are called: no two patients share a name."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from dicom_phantom import chest_hu, write_series

from ncct_cta.common.errors import InputError
from ncct_cta.data import Case
from ncct_cta.infer.dicom_cases import holds_dicom_only
from ncct_cta.infer.scan_files import read_inputs


def fill(folder: Path, *names: str) -> Path:
    """Make empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


@pytest.mark.parametrize(
    ("file", "case"),
    [
        ("P003/NCCT.nii.gz", "P003"),
        ("s0001/ct.nii.gz", "s0001"),
        ("P003/image.nii", "P003"),
        ("scans/b_ncct.nii.gz", "b"),
        ("P003/thorax.nii.gz", "thorax"),
    ],
)
def test_a_file_whose_name_says_nothing_is_called_after_its_folder(file: str, case: str, tmp_path: Path) -> None:
    assert names(read_inputs(fill(tmp_path, file) / file)) == [case]


def test_so_is_one_given_from_within_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fill(tmp_path / "P003", "NCCT.nii.gz"))
    assert names(read_inputs("NCCT.nii.gz")) == ["P003"]


def test_a_folder_of_one_folder_per_case_is_searched(tmp_path: Path) -> None:
    fill(tmp_path, "s0002/ct.nii.gz", "s0001/ct.nii.gz", "s0001/segmentations/aorta.nii.gz", ".cache/ct.nii.gz")
    assert names(read_inputs(tmp_path)) == ["s0001", "s0002"]


def test_of_a_cases_folder_the_ncct_alone_is_taken(tmp_path: Path) -> None:
    fill(tmp_path, *(f"P003/{kind}.nii.gz" for kind in ("NCCT", "CTA", "lung", "vessel", "mask")))
    assert [case.ncct.name for case in read_inputs(tmp_path)] == ["NCCT.nii.gz"]


def test_masks_of_the_decathlons_layout_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "imagesTs/lung_001.nii.gz", "imagesTs/lung_002.nii.gz", "labelsTr/lung_003.nii.gz")
    assert names(read_inputs(tmp_path)) == ["lung_001", "lung_002"]


def test_files_of_one_name_in_several_folders_are_told_apart_by_both(tmp_path: Path) -> None:
    fill(tmp_path, "P003/thorax.nii.gz", "P004/thorax.nii.gz", "P004/abdomen.nii.gz")
    assert names(read_inputs(tmp_path)) == ["P003_thorax", "abdomen", "P004_thorax"]


def test_a_pair_counts_once_and_what_only_has_a_files_name_is_not_passed_over(tmp_path: Path) -> None:
    for name in ("a.hdr", "a.img", "a_lung.img", "a_lung.hdr"):
        (tmp_path / name).touch()
    (tmp_path / "b.nii.gz").mkdir()
    assert [case.ncct.name for case in read_inputs(tmp_path)] == ["a.img", "b.nii.gz"]


def test_a_folders_own_files_come_before_those_below_it(tmp_path: Path) -> None:
    assert names(read_inputs(fill(tmp_path, "a.nii.gz", "more/b.nii.gz"))) == ["a"]


@pytest.mark.parametrize(("split", "expected"), [(None, ["c"]), ("validation", ["b"]), ("all", ["a", "b", "c"])])
@pytest.mark.parametrize("given", ["", "datalist.json"])
def test_a_folders_case_list_says_which_are_taken(
    given: str, split: str | None, expected: list[str], tmp_path: Path
) -> None:
    fill(tmp_path, "a_ncct.nii", "b_ncct.nii", "c_ncct.nii", "no_case.nii")
    entries = {
        name: [f"{case}_ncct.nii"] for name, case in zip(("training", "validation", "testing"), "abc", strict=True)
    }
    (tmp_path / "datalist.json").write_text(json.dumps(entries))
    assert names(read_inputs(tmp_path / given, split=split)) == expected


def test_it_is_said_that_training_cases_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, "a.nii", "b.nii")
    (tmp_path / "datalist.json").write_text(json.dumps({"training": ["a.nii"], "testing": ["b.nii"]}))
    with caplog.at_level(logging.INFO):
        read_inputs(tmp_path)
    assert "its 1 testing cases of 2; --split all takes all" in caplog.text


def test_a_folder_without_scans_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no scan"):
        read_inputs(fill(tmp_path, "s0001/notes.txt"))
    with pytest.raises(InputError, match="none of its 1 files is an NCCT"):
        read_inputs(fill(tmp_path, "s0001/CTA.nii.gz"))


def test_nccts_come_before_dicom_that_lies_beside_them(tmp_path: Path) -> None:
    fill(tmp_path, "P003/NCCT.nii.gz")
    write_series(tmp_path / "P003" / "dicom", chest_hu((8, 8, 3)))
    assert not holds_dicom_only(tmp_path)
    (tmp_path / "P003" / "NCCT.nii.gz").rename(tmp_path / "P003" / "lung.nii.gz")
    assert holds_dicom_only(tmp_path)
