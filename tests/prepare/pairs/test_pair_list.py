"""pairs.csv: what is used, what isn't, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dicom_phantom import count_header_reads, write_series
from pydicom import dcmread

from ncct_cta.common.errors import InputError
from ncct_cta.dicom import headers
from ncct_cta.dicom.pseudonyms import KeyTable
from ncct_cta.prepare.pairs.pair_list import ScanFinder, ScanSource, read_pairs


def write(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text(text)
    return path


def test_rows_are_used_by_their_status(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "case,patient,ncct,cta,status,why\na,p1,x,y,ok,\nb,p1,x,z,choose,two CTAs\nc,,x,y,,\n\n",
    )
    pairs = read_pairs(path)
    assert [(pair.case, pair.patient) for pair in pairs.pairs] == [("a", "p1"), ("c", "c")]
    assert pairs.unused == (("b", "two CTAs"),)


def test_a_spreadsheet_with_semicolons_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffcase;ncct;cta;accept\na; x ;y;Yes\nb;x;y;no\n")
    assert [(pair.ncct, pair.accepted) for pair in read_pairs(path).pairs] == [("x", True), ("x", False)]


def test_a_list_that_excel_has_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes("case;ncct;cta\r\na;Müller/n;Müller/c\r\n".encode("cp1252"))
    assert [(pair.ncct, pair.cta) for pair in read_pairs(tmp_path / "pairs.csv").pairs] == [("Müller/n", "Müller/c")]


def test_what_is_no_text_says_how_to_save_it(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(b"PK\x03\x04\x81\x8d")
    with pytest.raises(InputError, match="save it as CSV UTF-8"):
        read_pairs(tmp_path / "pairs.csv")


def test_cases_are_accepted_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, "case,ncct,cta\na,x,y\nb,x,y\n")
    assert [pair.accepted for pair in read_pairs(path, ["b"]).pairs] == [False, True]
    with pytest.raises(InputError, match="--accept nobody"):
        read_pairs(path, ["nobody"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,ncct\na,x\n", "no column cta"),
        ("case,ncct,cta\na,x,y\na,x,z\n", "the case a stands twice"),
        ("case,ncct,cta\n../a,x,y\n", "can't name files"),
        ("case,ncct,cta\na,x,\n", "case a has no cta"),
        ("case,ncct,cta,accept\na,x,y,perhaps\n", "'perhaps', expected yes or no"),
        ("case,ncct,cta,status\na,x,y,choose\n", "none of its 1 rows has the status ok"),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pairs(write(tmp_path, text))


def test_a_missing_list_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_pairs(tmp_path / "nothing.csv")


def test_scans_are_paths_or_series_of_the_key_table(tmp_path: Path) -> None:
    scan = tmp_path / "DOE_JOHN.nii.gz"
    scan.touch()
    files = write_series(tmp_path)
    name, uid = _named_series(tmp_path, files)
    finder = ScanFinder(tmp_path)
    by_path = finder.find("DOE_JOHN.nii.gz", case="a", kind="ncct")
    by_name = finder.find(name, case="a", kind="cta")
    assert (by_path.path, by_path.key, by_path.series, by_path.label) == (scan, None, None, "a ncct")
    assert (by_name.path, by_name.key, by_name.label) == (tmp_path, uid, name)
    assert by_name.series is not None
    with pytest.raises(InputError, match="a cta: what the list gives is neither") as error:
        finder.find("DOE_JANE.nii.gz", case="a", kind="cta")
    assert "DOE" not in str(error.value)


def test_a_label_hides_the_path() -> None:
    source = ScanSource(Path("/data/DOE^JOHN/ct.nii.gz"), None, "s12")
    assert source.hide("/data/DOE^JOHN/ct.nii.gz: bad; ct.nii.gz again") == "s12: bad; s12 again"


def test_a_series_is_its_own_files_not_its_folder(tmp_path: Path) -> None:
    # A flat export: many patients in one folder, and more to come.
    files = write_series(tmp_path)
    name, _ = _named_series(tmp_path, files)
    before = ScanFinder(tmp_path).find(name, case="a", kind="cta")
    states = before.file_states()
    write_series(tmp_path, PatientID="18")
    after = ScanFinder(tmp_path).find(name, case="a", kind="cta")
    assert sorted(after.files) == sorted(files)
    assert after.file_states() == states
    os.utime(files[2], ns=(1, 1))
    assert after.file_states() != states


def test_a_header_is_read_once_however_often_its_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        write_series(tmp_path / "all" / name)
    reads = count_header_reads(monkeypatch, headers)
    finder = ScanFinder(tmp_path)
    with pytest.raises(InputError, match="the folder holds 2 CT volumes"):
        finder.find("all", case="a", kind="ncct")
    for given in ("all/a", str(tmp_path / "all" / "b")):
        assert finder.find(given, case="a", kind="ncct").series is not None
    assert set(reads.values()) == {1}
    assert len(reads) == 12


def _named_series(folder: Path, files: list[Path]) -> tuple[str, str]:
    """The pseudonym of a written series, in a key table beside it, and its UID."""
    keys = KeyTable()
    uid = dcmread(files[0]).SeriesInstanceUID
    name = keys.add_series(uid, patient=keys.add_patient("17"), source=folder)
    keys.write(folder / "keys.csv")
    return name, uid
