"""Write a synthetic CTA as a DICOM CT series derived from its source series."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from ..common.errors import InputError
from ..common.hu import ANGIO_WINDOW_HU, LUNG_WINDOW_HU, MEDIASTINAL_WINDOW_HU
from .geometry import SeriesGrid, grid_of
from .headers import SOFTWARE, DicomFile, quiet_pydicom
from .series import Series

DESCRIPTION = "Synthetic CTA, not for diagnosis"
COMMENT = "SYNTHETIC: made from a non-contrast CT by a neural network; no contrast was given. NOT FOR DIAGNOSIS."
SERIES_NUMBER_OFFSET = 9000  # scanners number from 1, workstations number their results in the hundreds
WINDOWS = {"CTA": ANGIO_WINDOW_HU, "MEDIASTINUM": MEDIASTINAL_WINDOW_HU, "LUNG": LUNG_WINDOW_HU}
# Elements that a derived image keeps from its source; everything else would describe an acquisition that never took
# place. The groups are the patient (0010) and clinical trials and de-identification (0012).
KEPT_GROUPS = (0x0010, 0x0012)
KEPT = (
    "SpecificCharacterSet StudyInstanceUID StudyDate StudyTime StudyID StudyDescription "
    "AccessionNumber ReferringPhysicianName BodyPartExamined PatientPosition "
    "PositionReferenceIndicator AcquisitionDate AcquisitionTime AcquisitionNumber KVP SliceThickness "
    "LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod"
)
# Elements that must be present, empty if unknown (PS3.3, type 2).
REQUIRED = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName PositionReferenceIndicator PatientPosition AcquisitionNumber KVP SliceThickness"
)
# Codes of PS3.16: (value, meaning).
PROCESSING_EQUIPMENT = ("109102", "Processing Equipment")
ACQUISITION_EQUIPMENT = ("109101", "Acquisition Equipment")
SOURCE_IMAGE = ("121322", "Source image for image processing operation")


def write_derived_series(hu: np.ndarray, series: Series, folder: Path, *, model: str) -> None:
    r"""Write a synthetic CTA as DICOM: new UIDs, the source's patient, study, frame of reference and geometry.

    The images say DERIVED\SECONDARY, state in words that they are synthetic and not for diagnosis, and which software
    and model made them; they refer to their source images slice by slice. Values are stored as HU (slope 1, intercept
    0). No element says that contrast was given.

    Args:
        hu: (X, Y, Z) int16 HU, on the grid on which ``pixels.read_series`` gives ``series``.
        series: the source.
        folder: the series' folder; an existing one is replaced. It is written completely or not at all.
        model: identifies the trained network.

    Raises:
        InputError: if a source file can no longer be read, or the folder can't be written.
    """
    grid = grid_of(series)
    if hu.dtype != np.int16 or hu.shape != grid.shape:
        raise ValueError(f"hu is {hu.dtype} {hu.shape}, expected int16 {grid.shape}, the series' grid")
    beside = folder.with_name(f".{folder.name}.partial")  # of one name: what a killed process has left is replaced
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        with quiet_pydicom():
            headers = (_source_header(series, file) for file in grid.slices)
            first = next(headers)
            shared = _shared_elements(series, first, model)
            for z, header in enumerate(chain([first], headers)):
                image = _image(hu[..., z], z, header, grid, shared)
                _save(image, beside / f"IM{z + 1:05d}.dcm")
        _replace(folder, beside)
    except OSError as error:
        raise InputError(f"{folder}: can't be written ({error.strerror or error}); choose another folder") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _shared_elements(series: Series, source: Dataset, model: str) -> Dataset:
    """The elements that all images share; ``source`` is the header of one of the series' images."""
    now = datetime.now()
    shared = Dataset()
    shared.SOPClassUID, shared.Modality = CTImageStorage, "CT"
    shared.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    shared.SeriesInstanceUID = generate_uid(prefix=None)
    # One for all images, though the source's may have one each.
    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID"):
        setattr(shared, keyword, series.first.text(keyword) or generate_uid(prefix=None))
    shared.SeriesNumber = SERIES_NUMBER_OFFSET + int(series.first.number("SeriesNumber")) + max(series.part - 1, 0)
    shared.SeriesDescription = DESCRIPTION
    for kind in ("InstanceCreation", "Series", "Content"):
        setattr(shared, f"{kind}Date", now.strftime("%Y%m%d"))
        setattr(shared, f"{kind}Time", now.strftime("%H%M%S"))
    shared.Manufacturer, shared.ManufacturerModelName, shared.SoftwareVersions = SOFTWARE, SOFTWARE, version(SOFTWARE)
    shared.DerivationDescription = f"{COMMENT} {_made_by(model)}"
    shared.ImageComments = COMMENT
    # Text burned into the source's pixels, which is rare in CT, stays in the synthetic ones.
    shared.BurnedInAnnotation = source.get("BurnedInAnnotation") or "NO"
    shared.ContributingEquipmentSequence = list(_equipment(source, now, model))
    shared.SamplesPerPixel, shared.PhotometricInterpretation = 1, "MONOCHROME2"
    shared.BitsAllocated, shared.BitsStored, shared.HighBit, shared.PixelRepresentation = 16, 16, 15, 1
    shared.RescaleSlope, shared.RescaleIntercept, shared.RescaleType = 1, 0, "HU"
    shared.WindowCenter = [round((low + high) / 2) for low, high in WINDOWS.values()]
    shared.WindowWidth = [high - low for low, high in WINDOWS.values()]
    shared.WindowCenterWidthExplanation = list(WINDOWS)
    return shared


def _made_by(model: str) -> str:
    return f"{SOFTWARE} {version(SOFTWARE)}, model {model}"


def _equipment(source: Dataset, now: datetime, model: str) -> Iterable[Dataset]:
    processing = Dataset()
    processing.PurposeOfReferenceCodeSequence = [_code(PROCESSING_EQUIPMENT)]
    processing.Manufacturer, processing.ManufacturerModelName, processing.SoftwareVersions = (
        SOFTWARE,
        SOFTWARE,
        version(SOFTWARE),
    )
    processing.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    processing.ContributionDescription = f"Synthesised the CTA: {_made_by(model)}"
    yield processing
    if source.get("Manufacturer"):
        scanner = Dataset()
        scanner.PurposeOfReferenceCodeSequence = [_code(ACQUISITION_EQUIPMENT)]
        _copy_elements(source, scanner, ("Manufacturer", "ManufacturerModelName", "SoftwareVersions"))
        yield scanner


def _image(hu: np.ndarray, z: int, source: Dataset, grid: SeriesGrid, shared: Dataset) -> Dataset:
    """One image: (X, Y) HU on plane ``z`` of the grid."""
    image = Dataset()
    _copy_elements(source, image, KEPT.split())
    for element in source:
        if element.tag.group in KEPT_GROUPS:
            image.add(element)
    for keyword in REQUIRED.split():
        if keyword not in image:
            setattr(image, keyword, None)
    if "BodyPartExamined" not in image:
        image.Laterality = None  # type 2C: the body part may be one of a pair
    image.update(shared)
    image.SOPInstanceUID, image.InstanceNumber = generate_uid(prefix=None), z + 1
    _set_references(image, source, in_place=grid.shifts is None)
    _set_position(image, z, grid)
    image.Columns, image.Rows = hu.shape
    image.PixelData = np.ascontiguousarray(hu.T, "<i2").tobytes()
    return image


def _set_references(image: Dataset, source: Dataset, *, in_place: bool) -> None:
    """Refer to the source image, and to its series; careless anonymisation leaves nothing to refer to."""
    if not all(source.get(keyword) for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID")):
        return
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    origin = Dataset()
    origin.update(reference)
    origin.PurposeOfReferenceCodeSequence = [_code(SOURCE_IMAGE)]
    origin.SpatialLocationsPreserved = "YES" if in_place else "NO"
    image.SourceImageSequence = [origin]
    series = Dataset()
    series.SeriesInstanceUID = source.SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference]
    image.ReferencedSeriesSequence = [series]


def _set_position(image: Dataset, z: int, grid: SeriesGrid) -> None:
    """The position of the source slice or, for a tilted series, of the straightened grid on the same plane."""
    file = grid.slices[z]
    position = file.required("ImagePositionPatient", 3)
    if grid.shifts is not None:
        position = (grid.affine @ (0, 0, z, 1))[:3]
    image.ImagePositionPatient = [format_number_as_ds(float(mm)) for mm in position]
    image.ImageOrientationPatient = [
        format_number_as_ds(x) for x in file.required("ImageOrientationPatient", 6).tolist()
    ]
    image.PixelSpacing = [format_number_as_ds(mm) for mm in file.required("PixelSpacing", 2).tolist()]
    normal = grid.affine[:3, 2] / grid.spacing[2]
    image.SliceLocation = format_number_as_ds(float(position @ normal))


def _source_header(series: Series, file: DicomFile) -> Dataset:
    try:
        return dcmread(file.path, stop_before_pixels=True, force=True)
    except OSError as error:
        raise InputError(f"{series.label}: can't be read any more ({error.strerror}); keep it to the end") from error


def _copy_elements(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    for keyword in keywords:
        if keyword in source:
            target.add(source[keyword])


def _code(code: tuple[str, str]) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[0], "DCM", code[1]
    return item


def _save(image: Dataset, path: Path) -> None:
    """Write an image to the disk, past its cache: a power cut must not leave a folder that only looks whole."""
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with open(path, "xb") as file:
        image.save_as(file, enforce_file_format=True)
        file.flush()
        os.fsync(file.fileno())


def _replace(folder: Path, finished: Path) -> None:
    """Give the finished folder its name; one that has it is moved aside first, and put back if that fails."""
    aside = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    try:
        finished.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
