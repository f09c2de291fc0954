"""Which headers of one patient ID are of several people."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset

from ncct_cta.dicom.headers import DicomFile
from ncct_cta.dicom.patients import are_several_people


def _file(name: str, birth_date: str) -> DicomFile:
    tags = Dataset()
    tags.PatientName, tags.PatientBirthDate = name, birth_date
    return DicomFile.from_dataset(Path("a"), tags)


@pytest.mark.parametrize(
    ("name", "birth_date", "several"),
    [
        ("Müller^Anna", "19500102", False),
        ("MUELLER^ANNA^^DR", "19500102", False),
        ("Muller^A", "", False),
        ("", "", False),
        ("Schmidt^Anna", "19500102", True),
        ("Müller^Bernd", "", True),
        ("Müller^Anna", "19500103", True),
    ],
)
def test_several_people_have_other_names_or_birth_dates_not_other_spellings(
    name: str, birth_date: str, several: bool
) -> None:
    assert are_several_people([_file("Müller^Anna", "19500102"), _file(name, birth_date)]) is several
