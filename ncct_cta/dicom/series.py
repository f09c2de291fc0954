"""Sorts the DICOM files of a folder into series, and a series into the volumes it holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from ..errors import InputError
from .headers import SOFTWARE, DicomFile, dicom_files

MIN_SLICES = 2
ENHANCED = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
# What scanners and workstations write into ImageType where an image is no slice of a volume of HU.
NO_SLICE = {
    "LOCALIZER": "localiser",
    "MIP": "projection",
    "MINIP": "projection",
    "PROJECTION IMAGE": "projection",
    "VOLUME RENDERING": "rendering",
    "SCREEN SAVE": "screen capture",
    "DOSE": "dose report",
}
# RescaleType of HU: "US", unspecified, is what many scanners write; spectral maps have others.
HU_TYPES = ("", "HU", "US", "HU_MOD")
# What tells two images at one position apart, the surest first.
PHASE_TAGS = (
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "AcquisitionNumber",
    "ConvolutionKernel",
    "ImageType",
)
NO_CONTRAST_WORDS = ("", "none", "no", "n", "0", "without")
SAME_POSITION_MM = 0.02  # far below any slice spacing, far above the rounding of positions
SAME_DIRECTION = 2e-3  # difference of direction cosines: a tenth of a degree
SAME_SPACING = 1e-3  # relative


@dataclass(frozen=True, eq=False)
class Series:
    """The images of one series that belong to one volume, or that are none.

    Args:
        uid: SeriesInstanceUID.
        slices: its files; of a volume all with one matrix, orientation and pixel spacing.
        part: 1, 2, ... where the series holds several volumes (phases, reformats), else 0.
        ignored: why this is no volume, in plain words; empty for a volume.
    """

    uid: str
    slices: tuple[DicomFile, ...]
    part: int = 0
    ignored: str = ""

    @property
    def key(self) -> str:
        """What ``choose_series`` finds it by: the UID, with ``#2`` for the second volume of a series."""
        return f"{self.uid}#{self.part}" if self.part else self.uid

    @property
    def first(self) -> DicomFile:
        """The file whose header stands for all."""
        return self.slices[0]

    @property
    def label(self) -> str:
        """What messages call it, without anything that could identify a patient."""
        part = f", volume {self.part}" if self.part else ""
        return f"DICOM series {self.first.text('SeriesNumber') or 'without number'}{part}"

    @property
    def names_contrast(self) -> bool:
        """Whether the header names a contrast agent, which doesn't prove that there is one, nor the contrary."""
        return self.first.text("ContrastBolusAgent").lower() not in NO_CONTRAST_WORDS

    @property
    def summary(self) -> str:
        """The label with what tells the series of a study apart."""
        spacing = self.first.numbers("PixelSpacing", 2)
        pixel = "" if spacing is None else f", {spacing[0]:.2f} mm pixels"
        kernel = self.first.text("ConvolutionKernel")
        thickness = self.first.text("SliceThickness")
        details = f"{len(self.slices)} images{pixel}{thickness and f', {thickness} mm thick'}{kernel and f', {kernel}'}"
        return f"{self.label} ({details}{', contrast by its header' if self.names_contrast else ''})"


@dataclass(frozen=True)
class Inventory:
    """What a folder holds.

    Args:
        volumes: series, or parts of series, whose images make a volume; whether they do is for ``grid_of`` to say.
        ignored: the others, with the reason.
        other_files: number of files that aren't DICOM.
    """

    volumes: tuple[Series, ...]
    ignored: tuple[Series, ...]
    other_files: int

    @property
    def why_none(self) -> str:
        """What the folder holds instead of a volume."""
        reasons = Counter(series.ignored for series in self.ignored)
        found = [f"{count} x {reason}" for reason, count in reasons.items()]
        return ", ".join([*found, f"{self.other_files} x no DICOM file"])


def find_series(folder: str | Path, *, progress: bool = False) -> Inventory:
    """Find the CT volumes in a folder and below it.

    Patients may be mixed, and a series may hold localisers and several volumes: images are parted by what they are,
    by matrix, orientation and pixel spacing, and, where two share a position, by acquisition or phase.

    Args:
        folder: a folder, or one file.
        progress: show a progress bar.

    Raises:
        InputError: if the folder is missing or can't be read.
    """
    files, other_files = dicom_files(folder, progress=progress)
    by_series: dict[tuple[str, str], list[DicomFile]] = defaultdict(list)
    for file in files:
        by_series[file.text("PatientID"), file.text("SeriesInstanceUID")].append(file)
    found = [part for (_, uid), members in sorted(by_series.items()) for part in _parts(uid, members)]
    return Inventory(
        tuple(series for series in found if not series.ignored),
        tuple(series for series in found if series.ignored),
        other_files,
    )


def choose_series(folder: str | Path, key: str | None = None) -> Series:
    """The one CT volume of a folder, or the one with this key.

    Args:
        folder: searched with its subfolders.
        key: ``Series.key``: a SeriesInstanceUID, or ``{UID}#{part}`` where a series holds several volumes.

    Raises:
        InputError: if there is no such volume, or more than one.
    """
    inventory = find_series(folder)
    volumes = [series for series in inventory.volumes if key is None or key in (series.key, series.uid)]
    if len(volumes) == 1:
        return volumes[0]
    if volumes:
        raise InputError(
            f"the folder holds {len(volumes)} CT volumes, expected one: {'; '.join(v.summary for v in volumes)}; "
            "name one of them (python -m ncct_cta.prepare scan gives each a name), or move it to a folder of its own"
        )
    if key is not None:
        raise InputError("the folder no longer holds the DICOM series that was asked for; scan it again")
    raise InputError(f"the folder holds no CT volume, expected a DICOM series: {inventory.why_none}")


def _parts(uid: str, files: Sequence[DicomFile]) -> list[Series]:
    by_reason: dict[str, list[DicomFile]] = defaultdict(list)
    for file in _without_copies(files):
        by_reason[_no_slice(file)].append(file)
    groups = [part for group in _one_geometry(by_reason.pop("", [])) for part in _one_phase(group)]
    volumes = [group for group in groups if len(group) >= MIN_SLICES]
    for group in groups:
        if len(group) < MIN_SLICES:
            by_reason["single image"] += group
    parts = [Series(uid, tuple(group), part=number) for number, group in enumerate(volumes, start=1)]
    if len(parts) == 1:
        parts = [Series(uid, tuple(volumes[0]))]
    return parts + [Series(uid, tuple(group), ignored=reason) for reason, group in sorted(by_reason.items())]


def _without_copies(files: Sequence[DicomFile]) -> list[DicomFile]:
    """Each image once: exports often hold a file twice, under two names."""
    # The UID alone won't do: careless anonymisation gives all images of a series the same.
    same = ("SOPInstanceUID", "InstanceNumber", "AcquisitionNumber", "ImagePositionPatient")
    unique = {tuple(file.text(keyword) for keyword in same): file for file in reversed(files)}
    return list(reversed(unique.values()))


def _no_slice(file: DicomFile) -> str:
    """Why an object is no slice of a CT volume; empty if it is one."""
    sop_class = UID(file.text("SOPClassUID"))
    if sop_class in ENHANCED:
        return "enhanced multi-frame CT, which isn't read: export it as classic CT images"
    if sop_class != CTImageStorage:
        # UID.name is the number itself where pydicom doesn't know the class.
        return f"no CT image ({sop_class.name if sop_class.is_valid else file.text('Modality') or 'unknown object'})"
    if file.text("Manufacturer") == SOFTWARE:
        return "synthetic CTA"  # neither a scan to synthesise from nor a CTA to learn from
    for value in file.text("ImageType").upper().split("\\"):
        if value in NO_SLICE:
            return NO_SLICE[value]
    if file.number("SamplesPerPixel", 1) != 1:
        return "colour picture"
    if file.text("RescaleType").upper() not in HU_TYPES:
        return f"values that are no HU (rescale type {file.text('RescaleType')})"
    for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        if file.numbers(keyword, count) is None:
            return f"no {keyword}"
    return ""


def _one_geometry(files: Iterable[DicomFile]) -> list[list[DicomFile]]:
    groups: list[list[DicomFile]] = []
    for file in files:
        group = next((group for group in groups if _same_geometry(group[0], file)), None)
        if group is None:
            groups.append([file])
        else:
            group.append(file)
    return groups


def _same_geometry(a: DicomFile, b: DicomFile) -> bool:
    return (
        all(a.text(keyword) == b.text(keyword) for keyword in ("Rows", "Columns", "FrameOfReferenceUID"))
        and np.allclose(
            a.required("ImageOrientationPatient", 6), b.required("ImageOrientationPatient", 6), 0, SAME_DIRECTION
        )
        and np.allclose(a.required("PixelSpacing", 2), b.required("PixelSpacing", 2), SAME_SPACING, 0)
    )


def _one_phase(files: list[DicomFile]) -> list[list[DicomFile]]:
    """Part images that share positions by the first tag that tells them apart; all together where none does."""
    if not shared_positions(files):
        return [files]
    for keyword in PHASE_TAGS:
        groups: dict[str, list[DicomFile]] = defaultdict(list)
        for file in files:
            groups[file.text(keyword)].append(file)
        if len(groups) > 1 and not any(shared_positions(group) for group in groups.values()):
            return [groups[value] for value in sorted(groups, key=_numeric_first)]
    return [files]


def _numeric_first(text: str) -> tuple[float, str]:
    convert: Callable[[str], float] = float
    try:
        return convert(text), text
    except ValueError:
        return float("inf"), text


def shared_positions(files: Sequence[DicomFile]) -> list[float]:
    """The positions along the normal, in mm, at which more than one image lies."""
    along = np.sort(positions_along_normal(files))
    return [float(mm) for mm in along[1:][np.diff(along) < SAME_POSITION_MM]]


def positions_along_normal(files: Sequence[DicomFile]) -> np.ndarray:
    """(n,) mm: where each image lies on the normal of the first image's plane."""
    return np.array([file.required("ImagePositionPatient", 3) for file in files]) @ axes_of(files[0])[2]


def axes_of(file: DicomFile) -> np.ndarray:
    """(3, 3): unit vectors along an image's rows, down its columns, and along its normal, at right angles, in LPS.

    Headers round the first two (PS3.3 C.7.6.2.1.1), so they are made exact.
    """
    row, column = file.required("ImageOrientationPatient", 6).reshape(2, 3)
    row /= np.linalg.norm(row)
    column -= column @ row * row
    column /= np.linalg.norm(column)
    return np.array([row, column, np.cross(row, column)])
