"""Enters DICOM patients and series into the key table."""

from __future__ import annotations

import os

from ..pseudonyms import KeyTable
from .headers import DicomFile
from .series import Series


def patient_identity(file: DicomFile) -> str:
    """What tells a DICOM patient from others: the ID; without one name and birth date, or else the study."""
    name = file.text("PatientName") + file.text("PatientBirthDate")
    return file.text("PatientID") or name or file.text("StudyInstanceUID")


def add_to_keys(series: Series, keys: KeyTable) -> tuple[str, str]:
    """The pseudonyms of a DICOM series' patient and of the series, both entered into the table."""
    first = series.first
    patient = keys.add_patient(
        patient_identity(first), name=first.text("PatientName"), birth_date=first.text("PatientBirthDate")
    )
    identity = f"{series.key} ({series.ignored})" if series.ignored else series.key
    source = os.path.commonpath({str(file.path.absolute().parent) for file in series.slices})
    description = first.text("SeriesDescription")
    return patient, keys.add_series(identity, patient=patient, source=source, description=description)
