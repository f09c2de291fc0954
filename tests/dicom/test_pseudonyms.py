"""Names that say nothing, and the table that says who."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.dicom.pseudonyms import DIGITS, KeyTable


def test_the_same_salt_gives_the_same_name_and_another_salt_another() -> None:
    assert KeyTable("salt").add_patient("4711") == KeyTable("salt").add_patient("4711")
    assert KeyTable("salt").add_patient("4711") != KeyTable("pepper").add_patient("4711")
    assert KeyTable().add_patient("4711") != KeyTable().add_patient("4711")


def test_different_patients_and_series_get_different_names() -> None:
    table = KeyTable()
    names = [table.add_patient(str(number)) for number in range(200)]
    names += [table.add_series("1.2.3", patient=patient, source="x") for patient in names]
    assert len(set(names)) == 400
    assert all(re.fullmatch(f"[ps][0-9a-f]{{{DIGITS}}}", name) for name in names)


def test_a_table_goes_through_its_file(tmp_path: Path) -> None:
    table = KeyTable()
    patient = table.add_patient("47;11", name='M\u00fcller^"Hans", Dr', birth_date="19500101")
    series = table.add_series("1.2#2", patient=patient, source=tmp_path, description="Thorax\nnativ")
    table.write(tmp_path / "keys.csv")
    again = KeyTable.read(tmp_path / "keys.csv")
    assert again.source_of(series) == (tmp_path, "1.2#2")
    assert again.add_patient("47;11") == patient
    assert "M\u00fcller^" in (tmp_path / "keys.csv").read_text(encoding="utf-8")


def test_a_name_that_looks_like_a_formula_is_text_in_the_table_and_the_same_behind_it(tmp_path: Path) -> None:
    table = KeyTable()
    patient = table.add_patient("=1+1", name="=cmd|' /C calc'!A0")
    table.write(tmp_path / "keys.csv")
    assert f"{patient},patient,'=1+1,,'=cmd|' /C calc'!A0" in (tmp_path / "keys.csv").read_text()
    read = KeyTable.read(tmp_path / "keys.csv")
    assert read.add_patient("=1+1") == patient
    read.write(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "keys.csv").read_bytes()


def test_a_file_needs_no_series_key(tmp_path: Path) -> None:
    file = tmp_path / "a.nii.gz"
    file.touch()
    table = KeyTable()
    assert table.source_of(table.add_series("a.nii.gz", patient="p1", source=file)) == (file, None)


def test_only_the_owner_reads_the_table(tmp_path: Path) -> None:
    KeyTable().write(tmp_path / "keys.csv")
    assert stat.S_IMODE((tmp_path / "keys.csv").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["keys.csv"]


def test_open_keeps_the_salt_of_a_table_that_is_there(tmp_path: Path) -> None:
    table = KeyTable.open(tmp_path / "keys.csv")
    name = table.add_patient("4711")
    table.write(tmp_path / "keys.csv")
    assert KeyTable.open(tmp_path / "keys.csv").add_patient("4711") == name


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n", "expected the columns"),
        ("pseudonym,kind,identity,patient,patient_name,birth_date,source,description\n", "0 rows of kind salt"),
        ("pseudonym,kind\nx,salt\n", "expected the columns"),
    ],
)
def test_another_file_is_no_key_table(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "keys.csv").write_text(content)
    with pytest.raises(InputError, match=words):
        KeyTable.read(tmp_path / "keys.csv")


def test_a_missing_table_names_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file.*prepare scan"):
        KeyTable.read(tmp_path / "keys.csv")


def test_an_unknown_series_is_named() -> None:
    table = KeyTable()
    with pytest.raises(InputError, match="'s123' is not in the key table"):
        table.source_of("s123")
    with pytest.raises(InputError, match="is not in the key table"):
        table.source_of(table.add_patient("4711"))
