"""What a folder of hospital data holds: one finding per series or file, under pseudonyms, with contrast measured."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from ...common.errors import InputError, fault_in_words
from ...common.progress import progress_bar
from ...dicom.geometry import SeriesGrid, grid_of
from ...dicom.headers import DicomFile
from ...dicom.partition import taken_at
from ...dicom.patients import add_to_keys, are_several_people, patient_identity
from ...dicom.pixels import read_slices, require_copies
from ...dicom.pseudonyms import KeyTable
from ...dicom.search import files_below
from ...dicom.series import Inventory, Series, find_series
from ...infer.scan_files import NOT_INPUTS
from ...transforms.contrast import GRID_MM, blood_of, is_enhanced
from ...volumes.nifti import nifti_suffix
from ...volumes.reading import dicom_volume, is_volume_file, read_volume

OK, IGNORED, ERROR = "ok", "ignored", "error"
AXIAL, PLANES = "axial", ("sagittal", "coronal", "axial")
MASKS_AND_OUTPUTS = set(NOT_INPUTS) - {"cta"}


@dataclass(frozen=True)
class Finding:
    """One series or file, without anything that identifies a patient.

    Args:
        patient: pseudonym.
        series: pseudonym.
        status: ok (a usable CT volume), ignored (not a CT volume) or error (a CT volume that can't be used).
        remark: why it isn't usable, or what the user should know.
        format: DICOM, NIfTI, ...
        study: number of the study among the patient's studies, in chronological order; 0 if there is none.
        number: SeriesNumber, as text.
        slices: number of images.
        spacing: voxel edges in mm.
        plane: for DICOM, axial, coronal or sagittal.
        kernel: reconstruction kernel.
        tag: whether the header names a contrast agent; None if there is no header.
        blood: HU measured in heart and great vessels; None if not measurable.
        frame: the frame of reference, for comparison only; it must not be written.
        taken: acquisition time, for comparison only; it must not be written.
        doubtful: whether the patient's ID comes with several birth dates, or clearly different names.
    """

    patient: str
    series: str
    status: str
    remark: str = ""
    format: str = "DICOM"
    study: int = 0
    number: str = ""
    slices: int = 0
    spacing: tuple[float, float, float] | None = None
    plane: str = ""
    kernel: str = ""
    tag: bool | None = None
    blood: float | None = None
    frame: str = ""
    taken: datetime | None = None
    doubtful: bool = False

    @property
    def enhanced(self) -> bool | None:
        """Whether the blood carries contrast, as measured."""
        return is_enhanced(self.blood)


@dataclass(frozen=True)
class Findings:
    """All findings of a folder, and the number of files that are damaged or neither DICOM nor a volume."""

    findings: tuple[Finding, ...]
    other_files: int
    damaged_files: int


def find_scans(folder: Path, keys: KeyTable, *, leave_out: Path | None = None) -> Findings:
    """Examine everything in and below a folder.

    Args:
        folder: DICOM files under any names, and NIfTI, NRRD, MHA or MHD files; patients may be mixed.
        keys: key table to which every patient and series is added.
        leave_out: a folder below ``folder`` to skip because results are written there. Any other folder, or
            ``folder`` itself, skips nothing.

    Raises:
        InputError: if the folder is missing or can't be read.
    """
    if leave_out is not None and folder.resolve().is_relative_to(leave_out.resolve()):
        leave_out = None
    inventory = find_series(folder, progress=True)
    files = [path for path in files_below(folder) if _is_listed(path, leave_out)]
    findings = [*_of_dicom(inventory, keys), *_of_files(files, folder, keys)]
    damaged = sum(not is_volume_file(path) for path in inventory.damaged)
    others = inventory.other_files + len(inventory.damaged) - damaged - len(files)
    return Findings(tuple(findings), others, damaged)


def _is_listed(path: Path, leave_out: Path | None) -> bool:
    return is_volume_file(path) and (leave_out is None or leave_out.absolute() not in path.absolute().parents)


def _of_dicom(inventory: Inventory, keys: KeyTable) -> Iterator[Finding]:
    everything = [*inventory.volumes, *inventory.ignored]
    studies: dict[str, dict[str, datetime]] = defaultdict(dict)
    files: dict[str, list[DicomFile]] = defaultdict(list)
    for series in everything:
        files[patient_identity(series.first)].append(series.first)
        taken = taken_at(series.first) or datetime.max
        of_patient = studies[patient_identity(series.first)]
        uid = series.first.text("StudyInstanceUID")
        of_patient[uid] = min(taken, of_patient.get(uid, taken))
    doubtful = {patient for patient, members in files.items() if are_several_people(members)}
    for series in progress_bar(everything, desc="series"):
        of_patient = studies[patient_identity(series.first)]
        in_order = sorted(of_patient, key=lambda uid: (of_patient[uid], uid))
        study = 1 + in_order.index(series.first.text("StudyInstanceUID"))
        finding = _of_series(series, study, keys)
        yield replace(finding, doubtful=patient_identity(series.first) in doubtful)


def _of_series(series: Series, study: int, keys: KeyTable) -> Finding:
    patient, name = add_to_keys(series, keys)
    first = series.first
    finding = Finding(
        patient,
        name,
        IGNORED if series.ignored else OK,
        series.ignored,
        study=study,
        number=first.text("SeriesNumber"),
        slices=len(series.slices),
        kernel=first.text("ConvolutionKernel"),
        tag=series.names_contrast,
        frame=first.text("FrameOfReferenceUID"),
        taken=taken_at(first),
    )
    if series.ignored:
        return finding
    try:
        grid = grid_of(series)
        require_copies(series, grid)
        plane = PLANES[int(np.abs(grid.affine[:3, 2]).argmax())]
        finding = replace(finding, spacing=grid.spacing, plane=plane, blood=_blood_of(series, grid))
    except InputError as error:
        return replace(finding, status=ERROR, remark=str(error))
    except Exception as error:  # that nobody foresaw: this series' failure, not the folder's
        return replace(finding, status=ERROR, remark=fault_in_words(error))
    remarks = [series.remark] if series.remark else []
    return replace(finding, remark="; ".join([*remarks, *_remarks(finding, grid)]))


def _blood_of(series: Series, grid: SeriesGrid) -> float | None:
    """Blood's HU from every n-th slice alone: a grid of ``GRID_MM`` is enough, and reading is what takes time."""
    step = max(1, round(GRID_MM / grid.spacing[2]))
    hu = read_slices(series, grid.slices[::step])
    return blood_of(dicom_volume(hu, grid.affine @ np.diag([1.0, 1.0, step, 1.0]), series))


def _remarks(finding: Finding, grid: SeriesGrid | None = None) -> Iterator[str]:
    if grid is not None and grid.shifts is not None:
        yield "gantry tilt, will be straightened"
    if grid is not None and grid.duplicates:
        yield f"images that are there twice and count once: {len(grid.duplicates)}"
    if finding.plane not in ("", AXIAL):
        yield f"{finding.plane} slices"
    if finding.blood is None:
        yield "no lungs and heart found: contrast not measured"
    elif finding.tag is not None and finding.tag != finding.enhanced:
        said, seen = ("contrast", "none") if finding.tag else ("no contrast", "contrast")
        yield f"the header says {said}, the blood shows {seen} ({finding.blood:.0f} HU)"


def _of_files(files: Sequence[Path], folder: Path, keys: KeyTable) -> Iterator[Finding]:
    """Examine volumes stored as single files.

    A folder below the scanned one is a patient; of files that lie in the scanned one, the name without _ncct or _cta.
    A patient's {name}_ncct and {name}_cta form a study.
    """
    names = {path: re.sub("_(ncct|cta)$", "", _stem(path), flags=re.IGNORECASE) for path in files}
    places = {path: path.relative_to(folder) for path in files}
    owners = {path: places[path].parts[0] if len(places[path].parts) > 1 else names[path] for path in files}
    studies = sorted({(owners[path], names[path]) for path in files if names[path] != _stem(path)})
    for path in progress_bar(files, desc="files"):
        own = [name for owner, name in studies if owner == owners[path]]
        study = 1 + own.index(names[path]) if names[path] in own else 0
        patient = keys.add_patient(owners[path])
        series = keys.add_series(str(places[path]), patient=patient, source=path)
        yield _of_file(path, Finding(patient, series, OK, study=study))


def _stem(path: Path) -> str:
    return path.name.removesuffix(nifti_suffix(path) or path.suffix)


def _of_file(path: Path, finding: Finding) -> Finding:
    finding = replace(finding, format="NIfTI" if nifti_suffix(path) else path.suffix[1:].upper())
    kind = _stem(path).rpartition("_")[2].lower()
    if kind in MASKS_AND_OUTPUTS:
        return replace(finding, status=IGNORED, remark=f"no CT by its name (_{kind})")
    try:
        volume = read_volume(path)
        finding = replace(finding, slices=volume.shape[2], spacing=volume.spacing, blood=blood_of(volume))
    except InputError as error:
        # The message starts with the path, which may hold the patient's name.
        return replace(finding, status=ERROR, remark=str(error).replace(str(path), finding.series))
    except Exception as error:  # that nobody foresaw: this file's failure, not the folder's
        return replace(finding, status=ERROR, remark=fault_in_words(error))
    return replace(finding, remark="; ".join(_remarks(finding)))
