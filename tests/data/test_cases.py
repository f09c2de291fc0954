"""A wrong case list must stop at once and say which entry is wrong; a leak between splits above all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.data import load_decathlon_datalist

from ncct_cta.common.errors import InputError
from ncct_cta.data.cases import Case, read_case_list
from ncct_cta.infer.scan_files import read_inputs

WriteList = Callable[..., Path]


@pytest.fixture
def write_list(tmp_path: Path) -> WriteList:
    """Write a datalist, and an empty file for every path in it unless told otherwise."""

    def write(content: object, *, touch: bool = True) -> Path:
        path = tmp_path / "datalist.json"
        path.write_text(json.dumps(content))
        entries = [e for value in content.values() for e in value] if touch and isinstance(content, dict) else []
        for entry in entries:
            for value in entry.values():
                if str(value).endswith((".nii", ".nii.gz")):
                    (tmp_path / value).parent.mkdir(parents=True, exist_ok=True)
                    (tmp_path / value).touch()
        return path

    return write


def _pair(name: str) -> dict[str, str]:
    return {"ncct": f"{name}_ncct.nii.gz", "cta": f"{name}_cta.nii.gz"}


def _fill(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def _cohort(folder: Path, n: int) -> Path:
    return _fill(folder, *[f"case{i:02}_{kind}.nii.gz" for i in range(n) for kind in ("ncct", "cta")])


def _names(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


def test_datalist_is_read_with_paths_relative_to_it(write_list: WriteList, tmp_path: Path) -> None:
    entry = {"case": "p1", "ncct": "a/n.nii.gz", "cta": "a/c.nii.gz", "lung": "a/l.nii", "vessel": "a/v.nii"}
    splits = read_case_list(write_list({"training": [entry], "validation": [_pair("b")]}))
    folder = tmp_path / "a"
    assert splits["training"] == [
        Case("p1", folder / "n.nii.gz", folder / "c.nii.gz", folder / "l.nii", folder / "v.nii")
    ]
    assert _names(splits["validation"]) == ["b"]
    assert splits["testing"] == []


def test_monai_reads_the_same_list_and_its_aliases_are_understood(write_list: WriteList) -> None:
    path = write_list({"training": [{"image": "p1_ncct.nii.gz", "label": "p1_cta.nii.gz", "fold": 0}]})
    (case,) = read_case_list(path)["training"]
    (entry,) = load_decathlon_datalist(path)
    assert (str(case.ncct), str(case.cta)) == (entry["image"], entry["label"])


def test_metadata_beside_the_splits_is_passed_over(write_list: WriteList) -> None:
    path = write_list({"training": [_pair("a")]})
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "name": "x", "modality": {"0": "CT"}, "numTraining": 1})
    )
    assert _names(read_case_list(path)["training"]) == ["a"]


def test_byte_order_mark_of_a_windows_editor_is_passed_over(write_list: WriteList) -> None:
    path = write_list({"training": [_pair("a")]})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert _names(read_case_list(path)["training"]) == ["a"]


def test_folder_with_a_datalist_is_that_list(write_list: WriteList, tmp_path: Path) -> None:
    write_list({"training": [_pair("a")], "validation": [_pair("b")]})
    _fill(tmp_path, "other_ncct.nii.gz")
    assert _names(read_case_list(tmp_path)["training"]) == ["a"]


def test_folder_is_split_the_same_way_every_time(tmp_path: Path) -> None:
    folder = _cohort(tmp_path, 20)
    splits = read_case_list(folder, val_fraction=0.2, seed=1)
    assert splits == read_case_list(folder, val_fraction=0.2, seed=1)
    assert splits != read_case_list(folder, val_fraction=0.2, seed=2)
    assert (len(splits["training"]), len(splits["validation"])) == (16, 4)
    assert len({*_names(splits["training"]), *_names(splits["validation"])}) == 20


@pytest.mark.parametrize(("pairs", "fraction", "validation"), [(1, 0.15, 0), (2, 0.15, 1), (2, 0.99, 1), (9, 0.0, 0)])
def test_small_folders_leave_a_case_for_either_split(
    tmp_path: Path, pairs: int, fraction: float, validation: int
) -> None:
    splits = read_case_list(_cohort(tmp_path, pairs), val_fraction=fraction)
    assert (len(splits["training"]), len(splits["validation"])) == (pairs - validation, validation)


def test_folder_cases_without_a_cta_are_for_testing(tmp_path: Path) -> None:
    folder = _fill(_cohort(tmp_path, 3), "v1.5_ncct.nii", "v1.5_lung.nii.gz", "notes.txt")
    (case,) = read_case_list(folder)["testing"]
    assert case == Case("v1.5", folder / "v1.5_ncct.nii", lung=folder / "v1.5_lung.nii.gz")


BAD_LISTS = {
    "split misspelt": ({"trainning": [_pair("a")]}, r"unknown split 'trainning'; did you mean 'training'\?"),
    "split unknown": ({"fold_7": []}, "unknown split 'fold_7'; expected training, validation or testing"),
    "not a list": ({"training": _pair("a")}, "training is a dict, expected a list of cases"),
    "not an object": ([_pair("a")], "is a list, expected an object with the keys training, validation or testing"),
    "no case": ({"training": []}, "names no case"),
    "entry no object": ({"training": [3]}, r"training\[0\] is a int, expected an object"),
    "no ncct": ({"training": [_pair("a"), {"cta": "a_cta.nii.gz"}]}, r"training\[1\] has no ncct"),
    "no cta": ({"validation": [{"ncct": "a.nii.gz"}]}, "case a of validation has no cta"),
    "key misspelt": ({"training": [{**_pair("a"), "vesel": "v.nii"}]}, r"unknown key 'vesel'; did you mean 'vessel'\?"),
    "list of files": ({"training": [{"ncct": ["a.nii"]}]}, "ncct is a list, expected the path of one file"),
    "given twice": ({"training": [{**_pair("a"), "image": "b.nii"}]}, "gives its ncct twice"),
    "name with slash": ({"training": [{**_pair("a"), "case": "../a"}]}, r"the case '\.\./a' can't name an output"),
}


@pytest.mark.parametrize(("content", "message"), BAD_LISTS.values(), ids=BAD_LISTS.keys())
def test_bad_list_is_refused_with_the_place(write_list: WriteList, content: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_case_list(write_list(content, touch=False))
    assert "\n" not in str(error.value)


def test_missing_file_names_case_and_file(write_list: WriteList, tmp_path: Path) -> None:
    path = write_list({"training": [{"case": 17, **_pair("a")}]})
    (tmp_path / "a_cta.nii.gz").unlink()
    with pytest.raises(InputError, match=r"case 17 of training: its cta .*a_cta\.nii\.gz does not exist"):
        read_case_list(path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\xfd"])
def test_invalid_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "datalist.json").write_bytes(content)
    with pytest.raises(InputError, match="no valid JSON"):
        read_case_list(tmp_path)


def test_case_in_two_splits_is_a_leak(write_list: WriteList) -> None:
    path = write_list({"training": [{"case": "p", **_pair("a")}], "validation": [{"case": "p", **_pair("b")}]})
    with pytest.raises(InputError, match=r"case p stands twice: .*\(training\) and .*\(validation\)"):
        read_case_list(path)


def test_file_in_two_splits_is_a_leak_under_any_name(write_list: WriteList) -> None:
    path = write_list(
        {"training": [{"case": "p", **_pair("a")}], "testing": [{"case": "q", "ncct": "./a_ncct.nii.gz"}]}
    )
    with pytest.raises(InputError, match=r"a_ncct\.nii\.gz stands twice: as p \(training\) and q \(testing\)"):
        read_case_list(path)


@pytest.mark.parametrize("read", [read_case_list, read_inputs])
def test_missing_source_is_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    for name in ("nowhere", "nowhere.json"):
        with pytest.raises(InputError, match="there is no such file or folder"):
            read(tmp_path / name)


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no case, expected datalist\.json or files named"):
        read_case_list(tmp_path)
    with pytest.raises(InputError, match=r"holds no NIfTI file, expected.*ncct_cta\.prepare"):
        read_inputs(tmp_path)
    with pytest.raises(InputError, match=r"none of its 1 NIfTI files is an NCCT.*ncct_cta\.prepare"):
        read_inputs(_fill(tmp_path, "a_cta.nii"))


def test_folder_with_a_cta_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"case p: .* holds its cta, but no p_ncct\.nii\.gz"):
        read_case_list(_fill(tmp_path, "p_cta.nii.gz"))


def test_folder_with_one_file_in_two_formats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="are both its ncct; keep one"):
        read_case_list(_fill(tmp_path, "p_ncct.nii.gz", "p_ncct.nii"))


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_val_fraction_out_of_range_is_refused(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(InputError, match=f"val_fraction is {fraction}, expected"):
        read_case_list(_cohort(tmp_path, 3), val_fraction=fraction)


def test_one_file_is_one_input_whatever_its_name(tmp_path: Path) -> None:
    path = _fill(tmp_path, "p.1_cta.nii.gz") / "p.1_cta.nii.gz"
    assert read_inputs(path) == [Case("p.1_cta", path)]


def test_folder_gives_every_nifti_that_is_an_input(tmp_path: Path) -> None:
    others = ["a_cta.nii.gz", "a_lung.nii", "a_vessel.nii.gz", "b_syncta.nii.gz", ".b.nii.gz", "b.txt"]
    folder = _fill(tmp_path, "b.v2.nii", "a_ncct.nii.gz", *others)
    assert read_inputs(folder) == [Case("a", folder / "a_ncct.nii.gz"), Case("b.v2", folder / "b.v2.nii")]


def test_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    names = [f"{letter}.nii" for letter in "mzqbtaxck"]
    assert _names(read_inputs(_fill(tmp_path, *names))) == sorted("mzqbtaxck")


def test_list_gives_its_testing_cases(write_list: WriteList) -> None:
    path = write_list({"training": [_pair("a")], "testing": [_pair("b")]})
    assert _names(read_inputs(path)) == ["b"]
    assert _names(read_inputs(path, split="training")) == ["a"]
    assert _names(read_inputs(path, split="all")) == ["a", "b"]


def test_list_without_testing_cases_gives_all(write_list: WriteList) -> None:
    assert _names(read_inputs(write_list({"training": [_pair("a")], "validation": [_pair("b")]}))) == ["a", "b"]


def test_chosen_split_must_exist_and_hold_a_case(write_list: WriteList) -> None:
    path = write_list({"training": [_pair("a")]})
    with pytest.raises(InputError, match=r"split 'test': did you mean 'testing'\?"):
        read_inputs(path, split="test")
    with pytest.raises(InputError, match="the split 'testing' is empty"):
        read_inputs(path, split="testing")


def test_a_split_of_a_folder_is_that_of_the_list_in_it(write_list: WriteList) -> None:
    folder = write_list({"training": [_pair("a")], "testing": [_pair("b")]}).parent
    assert _names(read_inputs(folder, split="training")) == ["a"]
    assert _names(read_inputs(folder)) == ["b"]
    with pytest.raises(InputError, match=r"split 'tesing': did you mean 'testing'\?"):
        read_inputs(folder, split="tesing")


@pytest.mark.parametrize("name", ["", "a.nii"])
def test_a_split_of_what_has_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError, match=r"has no splits, expected a case list \(datalist\.json\); leave out the split"
    ):
        read_inputs(_fill(tmp_path, "a.nii") / name, split="testing")


def test_inference_needs_no_cta(write_list: WriteList, tmp_path: Path) -> None:
    path = write_list({"training": [_pair("a")], "validation": [{"ncct": "b.nii"}]})
    (tmp_path / "a_cta.nii.gz").unlink()
    assert _names(read_inputs(path)) == ["a", "b"]


def test_inputs_with_one_output_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"case a stands twice: .*a\.nii\.gz .*a_ncct\.nii\.gz"):
        read_inputs(_fill(tmp_path, "a.nii.gz", "a_ncct.nii.gz"))


def test_other_files_are_refused_as_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a NIfTI file \(\.nii or \.nii\.gz\), a folder"):
        read_inputs(_fill(tmp_path, "scan.dcm") / "scan.dcm")
