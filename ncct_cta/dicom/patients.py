"""Tell DICOM patients apart, and enter them and their series into the key table."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from itertools import combinations

from .headers import DicomFile
from .pseudonyms import KeyTable
from .series import Series


def patient_identity(file: DicomFile) -> str:
    """What identifies a DICOM patient: the ID; without it, name and birth date; without those, the study."""
    name = file.text("PatientName") + file.text("PatientBirthDate")
    return file.text("PatientID") or name or file.text("StudyInstanceUID")


def are_several_people(files: Iterable[DicomFile]) -> bool:
    """Whether one patient's headers give several birth dates, or names that aren't spellings of one.

    After careless anonymisation one ID, such as "1" or "ANON", is shared by many patients.
    """
    births, names = set(), set()
    for file in files:
        births.add(re.sub(r"\D", "", file.text("PatientBirthDate")))
        names.add(_words(file.text("PatientName")))
    return len(births - {""}) > 1 or not all(_alike(*pair) for pair in combinations(names - {()}, 2))


def _words(name: str) -> tuple[str, ...]:
    """A name's parts without case, accents and the e of a transcribed umlaut."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return tuple(sorted(re.findall(r"\w+", re.sub("([aou])e", r"\1", letters))))


def _alike(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether all parts of the shorter name are in the other: a part may be missing or abbreviated to its initial."""
    fewer, more = sorted((a, b), key=len)
    return all(any(word.startswith(part) or part.startswith(word) for word in more) for part in fewer)


def add_to_keys(series: Series, keys: KeyTable) -> tuple[str, str]:
    """The pseudonyms of a DICOM series' patient and of the series, both entered into the table."""
    first = series.first
    name, birth_date = first.text("PatientName"), first.text("PatientBirthDate")
    patient = keys.add_patient(patient_identity(first), name=name, birth_date=birth_date)
    identity = f"{series.key} ({series.ignored})" if series.ignored else series.key
    source = os.path.commonpath({str(file.path.absolute().parent) for file in series.slices})
    description = first.text("SeriesDescription")
    return patient, keys.add_series(
        identity, patient=patient, source=source, description=description, name=name, birth_date=birth_date
    )
