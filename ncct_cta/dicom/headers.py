"""Reads what the headers of DICOM files say, never their pixels."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

# All that finding, sorting and naming need: the headers of a whole hospital's folder are held in memory together.
# fmt: off
TAGS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID",
    "PatientName", "PatientBirthDate", "Modality", "Manufacturer", "ImageType", "SeriesNumber", "SeriesDescription",
    "InstanceNumber", "StudyDate", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "ContentDate",
    "ContentTime", "AcquisitionNumber", "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "TriggerTime",
    "KVP", "ConvolutionKernel", "ContrastBolusAgent", "ContrastBolusRoute", "SliceThickness", "SamplesPerPixel",
    "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "BitsAllocated", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "RescaleType",
)
# fmt: on
# Decimal strings that hold no text of a user's: kept as they stand where they can't be read as numbers.
KEPT_AS_THEY_STAND = (
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
)
PLACES = {keyword: place for place, keyword in enumerate(TAGS)}
UNCOMPRESSED = ("", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
SOFTWARE = "ncct-cta"  # the manufacturer in the series that ``derived`` writes
MOST_DEFLATED_BYTES = 2**20  # a slice has a third of it
PREAMBLE_BYTES = 128
MAGIC = b"DICM"
# Files older than DICOM part 10 have no preamble and start with an element of group 0008.
OLD_STARTS = (b"\x08\x00", b"\x00\x08")


@dataclass(frozen=True, eq=False)
class DicomFile:
    """One DICOM file and the part of its header named in ``TAGS``: 3 kB, where pydicom's own objects take 26.

    Args:
        path: the file; it may contain a patient's name and must not appear in messages.
        values: the elements named in ``TAGS``, in that order, as text: several values joined by a backslash, empty
            where the element is missing or unreadable.
        is_compressed: whether the pixels take less room than their matrix.
    """

    path: Path
    values: tuple[str, ...]
    is_compressed: bool = False

    @classmethod
    def from_dataset(cls, path: Path, tags: Dataset) -> DicomFile:
        """The file with what pydicom has read of its header."""
        syntax = getattr(tags, "file_meta", Dataset()).get("TransferSyntaxUID", "")
        return cls(path, tuple(_as_text(tags, keyword) for keyword in TAGS), syntax not in UNCOMPRESSED)

    def text(self, keyword: str) -> str:
        """An element of ``TAGS`` as text, several values joined by a backslash; empty if missing or unreadable."""
        return self.values[PLACES[keyword]]

    def numbers(self, keyword: str, count: int = 1) -> np.ndarray | None:
        """An element as (count,) float64; None where it is missing, unreadable or of another length."""
        try:
            numbers = np.array([float(part) for part in self.text(keyword).split("\\")])
        except ValueError:
            return None
        return numbers if numbers.shape == (count,) and np.isfinite(numbers).all() else None

    def required(self, keyword: str, count: int) -> np.ndarray:
        """A required element as (count,) float64."""
        numbers = self.numbers(keyword, count)
        if numbers is None:
            raise ValueError(f"{keyword} is missing; only images of a volume have it for certain")
        return numbers

    def number(self, keyword: str, default: float = 0.0) -> float:
        """An element's single number, or the default where there is none."""
        numbers = self.numbers(keyword)
        return default if numbers is None else float(numbers[0])

    @property
    def has_rescale(self) -> bool:
        """Whether the header says how stored values become HU."""
        return self.numbers("RescaleSlope") is not None and self.numbers("RescaleIntercept") is not None


def unreadable_number(file: DicomFile, keyword: str) -> str:
    """What is wrong with an element that should hold numbers and doesn't, and what helps where it is a comma."""
    text = file.text(keyword)
    if "," not in text:
        return f"no {keyword}"
    number = next(part for part in text.split("\\") if "," in part)
    return f"{keyword} with a decimal comma ({number!r}), expected a point: correct it (dcmodify) or export it again"


class DamagedFileError(Exception):
    """A file that may be an image of a series but can't be read."""


def is_dicom(path: Path) -> bool:
    """Whether a file starts like a DICOM file; False if it can't be read."""
    try:
        return _starts_as_dicom(_start(path))
    except OSError:
        return False


def read_header(path: Path) -> DicomFile | None:
    """Return the header of a DICOM file; None if it isn't one.

    Raises:
        DamagedFileError: if the file is empty, can't be read, or starts as DICOM does and has no whole header.
    """
    try:
        start = _start(path)
        if start and not _starts_as_dicom(start):
            return None
        with quiet_pydicom():
            _refuse_bomb(path, is_part_10=start[PREAMBLE_BYTES:] == MAGIC)
            tags = dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(TAGS))
            _drop_undecodable(tags)
            tags.decode()
            file = DicomFile.from_dataset(path, tags)
            is_directory = tags.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage
    except Exception as error:  # on damaged bytes the parser can raise anything
        raise DamagedFileError from error
    is_part_10 = start[PREAMBLE_BYTES:] == MAGIC
    is_other = start and not is_part_10 and "SOPClassUID" not in tags and "Rows" not in tags
    if is_directory or is_other:  # DICOMDIR, a disk's table of contents; a file that starts like group 0008 by chance
        return None
    if not _is_whole(tags, is_part_10=is_part_10):
        raise DamagedFileError
    return file


def _start(path: Path) -> bytes:
    if not path.is_file():
        raise OSError(errno.EINVAL, "no regular file")  # a pipe may never end, nor begin
    with open(path, "rb") as file:
        return file.read(PREAMBLE_BYTES + len(MAGIC))


def _refuse_bomb(path: Path, *, is_part_10: bool) -> None:
    """Refuse a large deflated file: pydicom inflates all of it for its header, to up to a thousand times its size."""
    if not is_part_10 or os.path.getsize(path) <= MOST_DEFLATED_BYTES:
        return
    if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise DamagedFileError


def _starts_as_dicom(start: bytes) -> bool:
    return start[PREAMBLE_BYTES:] == MAGIC or start.startswith(OLD_STARTS)


def _drop_undecodable(tags: Dataset) -> None:
    """Remove the elements that can't be decoded: the others may be all that a volume needs."""
    kept = {tag_for_keyword(keyword) for keyword in KEPT_AS_THEY_STAND}
    for tag in list(tags.keys()):
        raw = tags.get_item(tag)
        try:
            tags[tag]
        except Exception:  # of any kind, by the element
            del tags[tag]
            if tag in kept and isinstance(raw, RawDataElement) and raw.value:
                # "0,7" for 0.7: no number, but the message can say what is wrong.
                tags.add_new(tag, "LT", raw.value.decode("ascii", "replace").strip())


def _as_text(tags: Dataset, keyword: str) -> str:
    value = tags.get(keyword)
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if isinstance(value, MutableSequence) else str(value).strip()
    return sys.intern(text)  # most of a series' values are the same in all its files


def _is_whole(tags: Dataset, *, is_part_10: bool) -> bool:
    """Whether a header has what all objects have, and a CT image its matrix: what a cut or a wrong length takes."""
    if "Rows" in tags:
        return "SOPClassUID" in tags or not is_part_10
    return "SOPClassUID" in tags and "SeriesInstanceUID" in tags and tags["SOPClassUID"].value != CTImageStorage


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom's warnings and log: of every offence against the standard, with the value, perhaps a name."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
