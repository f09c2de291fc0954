"""A wrong case list must stop at once and say which entry is wrong; a leak between splits above all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from monai.data import load_decathlon_datalist

from ncct_cta.common.errors import InputError
from ncct_cta.data import Case, read_case_list
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


def test_a_mask_of_ignored_voxels_is_read_from_a_list_and_from_a_folder(write_list: WriteList, tmp_path: Path) -> None:
    (listed,) = read_case_list(write_list({"training": [{**_pair("a"), "ignore": "a_ignore.nii.gz"}]}))["training"]
    (found,) = read_case_list(_fill(_cohort(tmp_path / "folder", 1), "case00_ignore.nii.gz"))["training"]
    assert listed.ignore == tmp_path / "a_ignore.nii.gz"
    assert found.ignore == tmp_path / "folder" / "case00_ignore.nii.gz"


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


BAD_TEXTS = {
    "cut": (b"{", "no valid JSON"),
    "latin-1": ('{"training": [{"ncct": "M\u00fcller.nii"}]}'.encode("latin-1"), r"not UTF-8 text \(byte 25\)"),
    "utf-16": ('{"training": []}'.encode("utf-16"), r"not UTF-8 text \(byte 0\).*save it as UTF-8"),
    "deep": (b"[" * 200_000, "nested too deeply for a datalist"),
    "deep in a case": (b'{"training": [{"ncct": ' + b"[" * 200_000, "nested too deeply for a datalist"),
    "many digits": (b'{"training": ' + b"9" * 10_000 + b"}", "no valid JSON"),
    "split twice": (b'{"training": ["a.nii"], "training": ["b.nii"]}', "gives 'training' twice"),
    "file twice": (b'{"testing": [{"ncct": "a.nii", "ncct": "b.nii"}]}', "gives 'ncct' twice"),
}


@pytest.mark.parametrize("read", [read_case_list, read_inputs])
@pytest.mark.parametrize(("content", "message"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_a_text_that_is_no_datalist_is_one_line(
    tmp_path: Path, content: bytes, message: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "datalist.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read(path)
    assert len(str(error.value)) - len(str(path)) < 240
    assert str(error.value).isprintable()


BAD_NAMES = {
    "NUL": ("p\0", "leave out control characters"),
    "line end": ("p\nq", "leave out control characters"),
    "half a character": ("p\ud800", "it isn't UTF-8 text"),
    "too long": ("p" * 300, "it has 300 bytes, expected at most 200"),
    "too long in bytes": ("\u6f22" * 80, "it has 240 bytes"),
    "absurd": ("p" * 1_000_000, "it has 1000000 bytes"),
    "a list": ([1], "case is a list, expected a name"),
    "true": (True, "case is a bool, expected a name"),
    "empty": ("", "leave out slashes"),
}


@pytest.mark.parametrize(("name", "message"), BAD_NAMES.values(), ids=BAD_NAMES.keys())
def test_a_name_that_no_file_can_have_is_one_line(
    write_list: WriteList, tmp_path: Path, name: object, message: str
) -> None:
    path = write_list({"training": [{"case": name, **_pair("a")}]}, touch=False)
    with pytest.raises(InputError, match=message) as error:
        read_case_list(path)
    assert len(str(error.value)) - len(str(path)) < 240
    assert str(error.value).isprintable()


@pytest.mark.parametrize("file", ["a\0.nii", "a\ud800.nii", "a" * 300 + ".nii", "a" * 1_000_000, "a\nb.nii"])
def test_a_path_that_no_file_can_have_is_one_line(write_list: WriteList, tmp_path: Path, file: str) -> None:
    for content in (
        {"testing": [{"case": "p", "ncct": file}]},
        {"training": [{**_pair("a"), "case": "p", "lung": file}]},
    ):
        path = write_list(content, touch=False)
        _fill(tmp_path, "a_ncct.nii.gz", "a_cta.nii.gz")
        with pytest.raises(InputError, match=r"does not exist|can't be read \(File name too long\)") as error:
            read_case_list(path)
        assert len(str(error.value)) < 300
        assert str(error.value).isprintable()


@pytest.mark.parametrize("source", ["a\0b", "a\ud800", "n" * 300, "n" * 5000])
def test_a_case_lists_path_that_no_file_can_have_is_one_line(tmp_path: Path, source: str) -> None:
    with pytest.raises(InputError) as error:
        read_case_list(tmp_path / source)
    assert len(str(error.value)) < 300
    assert str(error.value).isprintable()


def test_a_file_of_a_folder_whose_name_is_no_text_is_one_line(tmp_path: Path) -> None:
    name = os.fsdecode("M\u00fcller".encode("latin-1"))
    _fill(tmp_path, f"{name}_ncct.nii.gz", f"{name}_cta.nii.gz")
    with pytest.raises(InputError, match=r"the case 'M\\udcfcller' can't name an output file; it isn't UTF-8 text"):
        read_case_list(tmp_path)


def test_a_name_may_be_a_number_or_left_out(write_list: WriteList) -> None:
    entries = [{"case": 17, **_pair("a")}, {"case": None, **_pair("b")}, {"case": "M\u00fcller 3", **_pair("c")}]
    assert _names(read_case_list(write_list({"training": entries}))["training"]) == ["17", "b", "M\u00fcller 3"]


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
    with pytest.raises(InputError, match=r"holds no case, expected datalist\.json, files named .* a folder per case"):
        read_case_list(tmp_path)
    with pytest.raises(InputError, match=r"holds no scan, expected.*ncct_cta\.prepare"):
        read_inputs(tmp_path)
    with pytest.raises(InputError, match=r"none of its 1 files is an NCCT.*ncct_cta\.prepare"):
        read_inputs(_fill(tmp_path, "a_cta.nii"))


def test_folder_with_a_cta_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"case p: .* holds its cta, but no NCCT; add p_ncct\.nii\.gz"):
        read_case_list(_fill(tmp_path, "p_cta.nii.gz"))


@pytest.mark.parametrize(
    "names", [("NCCT.nii.gz", "CTA.nii.gz"), ("ncct.nii", "Cta.NII.gz"), ("x_ncct.nii", "x_cta.nii")]
)
def test_a_folder_per_case_is_read(tmp_path: Path, names: tuple[str, str]) -> None:
    for case in ("P001", "P002", "P003", ".hidden"):
        _fill(tmp_path / case, *names, "notes.txt")
    _fill(tmp_path / "P004", names[0])
    _fill(tmp_path / "empty")
    splits = read_case_list(tmp_path)
    pairs = {case.name: case for case in (*splits["training"], *splits["validation"])}
    prefix = "_x" if names[0].startswith("x_") else ""
    assert sorted(pairs) == [f"P00{number}{prefix}" for number in (1, 2, 3)]
    folder = tmp_path / "P002"
    assert pairs[f"P002{prefix}"].ncct == folder / names[0]
    assert pairs[f"P002{prefix}"].cta == folder / names[1]
    assert [case.ncct.parent.name for case in splits["testing"]] == ["P004"]


def test_files_beside_folders_are_the_cases(tmp_path: Path) -> None:
    _fill(tmp_path / "outputs", "case00_ncct.nii.gz")
    assert len(read_case_list(_cohort(tmp_path, 3))["training"]) == 2


def test_a_folder_of_a_case_without_its_ncct_is_named(tmp_path: Path) -> None:
    _fill(tmp_path / "P001", "CTA.nii.gz")
    with pytest.raises(InputError, match=r"case P001: .*P001 holds its cta, but no NCCT"):
        read_case_list(tmp_path)


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
    with pytest.raises(InputError, match=r"expected a file with a whole scan \(\.nii, .*a folder of them"):
        read_inputs(_fill(tmp_path, "scan.dcm") / "scan.dcm")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no such device")
def test_a_device_is_no_case_list() -> None:
    with pytest.raises(InputError, match="/dev/zero: not a regular file, expected a datalist"):
        read_case_list("/dev/zero")
