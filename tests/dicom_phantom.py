"""Writes a small CT series in DICOM, and every way in which hospitals' series differ from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (20, 16, 6)  # columns, rows, slices
SPACING = (0.8, 0.9, 2.5)
ORIGIN = (-31.5, -120.25, 410.0)
INTERCEPT = -1024
Edit = Callable[[int, Dataset], None]


def chest_hu(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    """(X, Y, Z) int16 HU from -1000 to 1400, another value almost everywhere, so that no mix-up stays unseen."""
    random = np.random.default_rng(seed)
    return random.integers(-1000, 1400, shape).astype(np.int16)


def write_series(folder: Path, hu: np.ndarray | None = None, edit: Edit | None = None, **tags: Any) -> list[Path]:
    """Write a series of single-slice CT images, the last slice first, under names that say nothing.

    Args:
        folder: made if missing; several series may share it.
        hu: (X, Y, Z).
        edit: changes the dataset of each slice, given its number from the feet up.
        tags: header elements of all slices; None takes one out.

    Returns:
        The files from the feet up.
    """
    hu = chest_hu() if hu is None else hu
    folder.mkdir(parents=True, exist_ok=True)
    series_uid, study_uid, frame_uid = generate_uid(), generate_uid(), generate_uid()
    files = []
    for z in range(hu.shape[2]):
        dataset = slice_dataset(hu[..., z], z)
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series_uid, study_uid
        dataset.FrameOfReferenceUID = frame_uid
        for keyword, value in tags.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        if edit is not None:
            edit(z, dataset)
        files.append(folder / f"IM{hu.shape[2] - z:05d}_{series_uid[-8:]}")
        save(dataset, files[-1])
    return files


def one_series() -> dict[str, str]:
    """The identifiers that make images written in several calls one series of one study."""
    return {name: generate_uid() for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")}


def slice_dataset(hu: np.ndarray, z: int) -> Dataset:
    """The dataset of one slice: (X, Y) HU, stored as 12-bit unsigned with the intercept that scanners use."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Modality, dataset.Manufacturer, dataset.ManufacturerModelName = "CT", "Maker", "Model"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20200102"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101500"
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.StudyID = "", "", ""
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "ID4711", "Doe^Jane", "19500102"
    dataset.PatientSex, dataset.PatientPosition, dataset.PositionReferenceIndicator = "F", "HFS", ""
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = 3, 1, z + 1
    dataset.SeriesDescription, dataset.ConvolutionKernel, dataset.KVP = "Thorax", "B40f", 120
    dataset.SliceThickness, dataset.PixelSpacing = SPACING[2], [SPACING[1], SPACING[0]]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + z * SPACING[2]]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Columns, dataset.Rows = hu.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleIntercept, dataset.RescaleSlope = INTERCEPT, 1
    dataset.PixelData = (hu.T.astype(np.int32) - INTERCEPT).astype("<u2").tobytes()
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write a dataset as an uncompressed DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID") or generate_uid()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


def count_header_reads(monkeypatch: pytest.MonkeyPatch, module: object) -> Counter[str]:
    """How often a module reads the header of each file, by the file's path, from now on."""
    reads: Counter[str] = Counter()

    def read(path: Path, **options: Any) -> Dataset:
        reads[str(path)] += 1
        return dcmread(path, **options)

    monkeypatch.setattr(module, "dcmread", read)
    return reads
