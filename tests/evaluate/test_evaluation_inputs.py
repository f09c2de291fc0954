from __future__ import annotations

import json
from pathlib import Path

import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.data import Case, read_case_list
from ncct_cta.evaluate.predictions import seen_in_training
from ncct_cta.evaluate.selection import choose_cases, find_predictions, listed
from ncct_cta.evaluate.sources import parse_source
from ncct_cta.settings import Settings


def datalist(folder: Path, **splits: dict[str, bool]) -> Path:
    """A case list, by split and case whether there is a CTA; the files are empty."""
    entries = {}
    for split, cases in splits.items():
        entries[split] = [
            {"case": name, "ncct": f"{name}_ncct.nii.gz", **({"cta": f"{name}_cta.nii.gz"} if has_cta else {})}
            for name, has_cta in cases.items()
        ]
        for entry in entries[split]:
            for kind in ("ncct", "cta"):
                (folder / entry.get(kind, "unused")).touch()
    path = folder / "datalist.json"
    path.write_text(json.dumps(entries))
    return path


def names(cases: tuple[Case, ...]) -> list[str]:
    return [case.name for case in cases]


def test_test_cases_are_scored_and_training_pairs_fit_the_baseline(tmp_path: Path) -> None:
    chosen = choose_cases(datalist(tmp_path, training={"a": True}, validation={"b": True}, testing={"c": True}))
    assert (names(chosen.cases), names(chosen.training), chosen.remarks) == (["c"], ["a"], ())


def test_without_test_pairs_the_validation_pairs_are_scored_which_is_said(tmp_path: Path) -> None:
    chosen = choose_cases(datalist(tmp_path, training={"a": True}, validation={"b": True}, testing={"c": False}))
    assert (names(chosen.cases), names(chosen.training)) == (["b"], ["a"])
    assert "These are validation cases" in chosen.remarks[0]


def test_cases_without_a_cta_are_left_out_which_is_said(tmp_path: Path) -> None:
    chosen = choose_cases(datalist(tmp_path, training={"a": True}, testing={"c": False, "d": True}))
    assert names(chosen.cases) == ["d"]
    assert chosen.remarks == ("Left out, because they have no CTA: c.",)


@pytest.mark.parametrize("split", ["training", "all"])
def test_pairs_that_are_scored_fit_no_baseline(tmp_path: Path, split: str) -> None:
    chosen = choose_cases(datalist(tmp_path, training={"a": True}, testing={"c": True}), split)
    assert "a" in names(chosen.cases)
    assert chosen.training == ()
    assert any("HU remap: n/a" in remark for remark in chosen.remarks)


def test_the_baseline_is_fitted_on_a_runs_training_pairs_where_the_list_has_none(tmp_path: Path) -> None:
    a, b, c = (Case(name, tmp_path / f"{name}_ncct.nii.gz", tmp_path / f"{name}_cta.nii.gz") for name in "abc")
    chosen = choose_cases(datalist(tmp_path, testing={"a": True}), has_run=True, run_training=[a, b, c])
    assert names(chosen.training) == ["b", "c"]  # what is scored fits nothing
    assert chosen.remarks == (
        "HU remap: fitted on the 2 training pairs of the first run, because the list has none beside the cases scored.",
    )


def folder_of_pairs(folder: Path) -> Path:
    """Eight pairs without a case list."""
    datalist(folder, training=dict.fromkeys("abcdefgh", True)).unlink()
    return folder


def test_a_folder_is_split_as_the_training_split_it(tmp_path: Path) -> None:
    folder = folder_of_pairs(tmp_path)
    one, other = (choose_cases(folder, has_run=True, val_fraction=0.5, seed=seed) for seed in (0, 1))
    assert len(one.cases) == len(one.training) == 4
    assert names(one.cases) != names(other.cases)
    assert one.remarks[0].startswith("4 of 8 cases: the folder's random validation share; --split all scores all.")


def test_all_of_a_folder_that_no_training_split_is_scored(tmp_path: Path) -> None:
    chosen = choose_cases(folder_of_pairs(tmp_path))
    assert sorted(names(chosen.cases)) == list("abcdefgh")
    assert "These are all cases of a folder that has no splits" in chosen.remarks[0]
    assert "HU remap: n/a, because there are no training pairs" in chosen.remarks[1]


def test_cases_of_a_runs_training_and_those_that_chose_its_checkpoint_are_named(tmp_path: Path) -> None:
    path = datalist(tmp_path, training={"a": True}, validation={"b": True}, testing={"c": True})
    cases = [case for split in read_case_list(path).values() for case in split]
    settings = Settings.parse({"data": {"datalist": str(path)}})
    assert seen_in_training("G", settings, cases) == [
        "G was trained on a: its figures there say nothing about new patients.",
        "G's best checkpoint was chosen by b: its figures there flatter it.",
    ]
    assert seen_in_training("G", settings, cases[2:]) == []
    newest = Settings.parse({"data": {"datalist": str(path)}, "train": {"best": "last"}})
    assert seen_in_training("G", newest, cases[1:]) == []  # no validation chose it
    path.unlink()
    assert "can't be read; was it trained on these cases?" in seen_in_training("G", settings, cases)[0]


def test_a_split_without_a_pair_is_refused(tmp_path: Path) -> None:
    path = datalist(tmp_path, training={"a": True}, testing={"c": False})
    with pytest.raises(InputError, match="no case of testing has a CTA"):
        choose_cases(path, "testing")


def test_the_first_of_the_names_is_taken(tmp_path: Path) -> None:
    for name in ("p.nii", "p.nii.gz", "p_syncta.nii.gz"):
        (tmp_path / name).touch()
    case = Case("p", tmp_path / "elsewhere.nii.gz")
    assert find_predictions("G", tmp_path, [case]).predictions == {"p": tmp_path / "p_syncta.nii.gz"}


def test_a_folder_of_nccts_is_no_folder_of_predictions(tmp_path: Path) -> None:
    (tmp_path / "p.nii.gz").touch()
    with pytest.raises(InputError, match=r"method G: .*p\.nii\.gz is the NCCT of case p"):
        find_predictions("G", tmp_path, [Case("p", tmp_path / "p.nii.gz")])


def test_missing_predictions_are_counted_and_a_few_are_named(tmp_path: Path) -> None:
    (tmp_path / "p0.nii.gz").touch()
    cases = [Case(f"p{i}", tmp_path / f"p{i}_ncct.nii.gz") for i in range(9)]
    with pytest.raises(InputError, match=r"of p1, p2, p3, p4, p5 and 3 more \(8 of 9 cases\)"):
        find_predictions("G", tmp_path, cases)


def test_a_method_is_named_by_its_folder_or_before_the_equals_sign(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert parse_source(f"G={tmp_path}", is_run=True).name == "G"
    assert parse_source(str(tmp_path), is_run=False).name == tmp_path.name
    assert parse_source(str(tmp_path / "a=b"), is_run=False).name == "a=b"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("runs/g", "leave out slashes"),
        ("a\nb", "leave out control characters"),
        ("\udcff", "it isn't UTF-8 text"),
        ("x" * 300, "300 b"),
    ],
    ids=["slash", "line end", "not UTF-8", "long"],
)
def test_a_name_that_no_folder_can_have_is_refused_in_one_line(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        parse_source(f"{name}={tmp_path}", is_run=True)
    assert len(str(refused.value).replace(str(tmp_path), "")) < 250


def test_a_folder_whose_name_is_too_long_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder") as refused:
        parse_source("x" * 300, is_run=False)
    assert len(str(refused.value)) < 250


def test_a_list_that_fits_is_whole() -> None:
    assert listed(["a", "b"]) == "a, b"
