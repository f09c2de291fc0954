"""What a campaign damages: phantoms, a DICOM series, a tiny run, and what the commands make of them undamaged."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ncct_cta.evaluate.command import main as evaluate
from ncct_cta.infer.command import main as infer
from ncct_cta.phantom.command import main as phantom
from ncct_cta.prepare.command import main as prepare
from ncct_cta.train.command import main as train

from .forked import Command, run

SHAPE, SPACING = ("48", "48", "24"), ("7", "7", "10.5")
# Whatever a damaged settings file says, a training of it ends within seconds.
TINY = [
    *("--data::num_workers", "0", "--train::num_epochs", "1", "--train::steps_per_epoch", "2"),
    *("--train::batch_size", "4", "--train::device", "cpu"),
]
TINY_NETWORK = [
    *("--data::patch_size", "[32, 32]", "--model::channels", "[4, 8]", "--model::num_res_units", "0"),
    *("--train::lr", "1.0e-2"),
]
MAINS: dict[str, Command] = {"train": train, "infer": infer, "evaluate": evaluate, "prepare": prepare}


@dataclass(frozen=True)
class Material:
    """The undamaged inputs, in one folder.

    Args:
        folder: of all.
    """

    folder: Path

    @property
    def cohort(self) -> Path:
        """Four phantoms with ``datalist.json``."""
        return self.folder / "cohort"

    @property
    def ncct(self) -> Path:
        """The NCCT of one of them."""
        return self.cohort / "phantom003_ncct.nii.gz"

    @property
    def dicom(self) -> Path:
        """The same NCCT as a DICOM series."""
        return self.folder / "dicom"

    @property
    def run(self) -> Path:
        """A finished run."""
        return self.folder / "run"

    @property
    def reference(self) -> Path:
        """What the commands make of all this: infer, infer_dicom, evaluate, prepare, train."""
        return self.folder / "reference"


def make(folder: Path) -> Material:
    """Make all of it, in forks, as everything in a campaign: this process only imports."""
    material = Material(folder)
    material.reference.mkdir(parents=True)
    _do(
        phantom,
        ["--output", material.cohort, "--cases", "4", "--seed", "7", "--shape", *SHAPE, "--spacing", *SPACING],
        folder,
    )
    write_dicom(material.ncct, material.dicom)
    words = [*TINY, *TINY_NETWORK, "--data::datalist", material.cohort, "--data::cache_dir", folder / "cache"]
    _do(train, ["g", *words, "--train::output_dir", material.run], folder)
    given = ["--run", material.run, "--device", "cpu"]
    _do(infer, [*given, "--input", material.ncct, "--output", material.reference / "infer"], folder)
    _do(infer, [*given, "--input", material.dicom, "--output", material.reference / "infer_dicom"], folder)
    _do(
        infer, [*given, "--input", material.cohort, "--split", "all", "--output", material.reference / "cohort"], folder
    )
    scored = ["--pred", f"x={material.reference / 'cohort'}", "--datalist", material.cohort, "--split", "all"]
    _do(evaluate, [*scored, "--output", material.reference / "evaluate", "--no-report"], folder)
    with open(folder / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("case", "ncct", "cta")]
            + [(f"c{n}", f"cohort/phantom00{n}_ncct.nii.gz", f"cohort/phantom00{n}_cta.nii.gz") for n in (0, 1)]
        )
    words = [
        "pairs",
        folder / "pairs.csv",
        "--output",
        material.reference / "prepare",
        "--no-deformable",
        "--jobs",
        "2",
    ]
    _do(prepare, words, folder)
    return material


def _do(command: Command, words: list, folder: Path) -> None:
    ended = run(command, words, folder)
    if ended.status != 0:
        raise RuntimeError(f"the undamaged {words} ended with {ended.status}: {ended.said[-3000:]}")


def linked_cohort(material: Material, folder: Path) -> Path:
    """The cohort anew, its files links that may be replaced."""
    folder.mkdir()
    for path in material.cohort.iterdir():
        if path.is_file() and path.suffix != ".json":
            (folder / path.name).symlink_to(path)
    shutil.copyfile(material.cohort / "datalist.json", folder / "datalist.json")
    return folder


def own_copy(link: Path) -> Path:
    """Replace a link by a copy of its file, to be damaged."""
    target = link.resolve()
    link.unlink()
    return Path(shutil.copyfile(target, link))


def write_dicom(nifti: Path, folder: Path) -> None:
    """Write a NIfTI volume as an axial CT series."""
    image = nib.load(nifti)
    hu = np.asanyarray(image.dataobj).round().astype(np.int32)[::-1, ::-1]  # phantoms are RAS, DICOM counts in LPS
    spacing = [float(size) for size in image.header.get_zooms()]
    folder.mkdir()
    uids = [generate_uid() for _ in range(3)]
    for z in range(hu.shape[2]):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, generate_uid()
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = uids
        dataset.ImageType, dataset.Modality = ["ORIGINAL", "PRIMARY", "AXIAL"], "CT"
        dataset.PatientID, dataset.PatientName, dataset.SeriesNumber = "ID4711", "Doe^Jane", 3
        dataset.InstanceNumber, dataset.AcquisitionNumber, dataset.SeriesDescription = z + 1, 1, "Thorax"
        dataset.StudyDate, dataset.StudyTime, dataset.PatientPosition = "20200102", "101500", "HFS"
        dataset.SliceThickness, dataset.PixelSpacing = spacing[2], [spacing[1], spacing[0]]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-100.0, -120.0, 400.0 + z * spacing[2]]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Columns, dataset.Rows = hu.shape[:2]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
        dataset.PixelData = (hu[..., z].T + 1024).astype("<i2").tobytes()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(folder / f"IM{z:04d}.dcm", enforce_file_format=True)
