"""Parts the images of one series into those that make volumes and those that don't."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage, UID_dictionary

from .headers import SOFTWARE, DicomFile

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
# What tells two acquisitions apart whose slices lie between one another's.
ACQUISITION_TAGS = ("AcquisitionNumber", "ContrastBolusAgent")
SAME_POSITION_MM = 0.02  # far below any slice spacing, far above the rounding of positions
SAME_DIRECTION = 2e-3  # difference of direction cosines: a tenth of a degree
SAME_SPACING = 1e-3  # relative
UNIT_AXES = 0.05  # of lengths and the scalar product of direction cosines: far above their rounding


def part_images(files: Sequence[DicomFile]) -> tuple[list[list[DicomFile]], dict[str, list[DicomFile]]]:
    """Part the images of a series, each of which may be there twice.

    Returns:
        Groups that share matrix, orientation, pixel spacing, frame of reference and phase, each at least
        ``MIN_SLICES``; and what is left, by the reason why it is no volume.
    """
    ignored: dict[str, list[DicomFile]] = defaultdict(list)
    for file in _without_copies(files):
        ignored[_no_slice(file)].append(file)
    groups = [part for group in _one_geometry(ignored.pop("", [])) for part in _one_phase(group)]
    for group in groups:
        if len(group) < MIN_SLICES:
            ignored["single image"] += group
    return [group for group in groups if len(group) >= MIN_SLICES], ignored


def _without_copies(files: Sequence[DicomFile]) -> list[DicomFile]:
    """Each image once: exports often hold a file twice, under two names."""
    # The UID alone won't do: careless anonymisation gives all images of a series the same.
    same = ("SOPInstanceUID", "InstanceNumber", "AcquisitionNumber", "ImagePositionPatient")
    unique = {tuple(file.text(keyword) for keyword in same): file for file in reversed(files)}
    return list(reversed(unique.values()))


def _no_slice(file: DicomFile) -> str:
    """Why an object is no slice of a CT volume; empty if it is one."""
    sop_class = file.text("SOPClassUID")
    if sop_class in ENHANCED:
        return "enhanced multi-frame CT, which isn't read: export it as classic CT images"
    if sop_class != CTImageStorage:
        name = UID_dictionary[sop_class][0] if sop_class in UID_dictionary else file.text("Modality")
        return f"no CT image ({name or 'unknown object'})"
    if file.text("Manufacturer") == SOFTWARE:
        return "synthetic CTA"  # neither a scan to synthesise from nor a CTA to learn from
    for value in file.text("ImageType").upper().split("\\"):
        if value in NO_SLICE:
            return NO_SLICE[value]
    if file.number("SamplesPerPixel", 1) != 1:
        return "colour picture"
    if file.text("PhotometricInterpretation").upper() == "MONOCHROME1":
        return "inverted values (MONOCHROME1), which aren't read: export it as MONOCHROME2"  # GDCM would give 2047 - HU
    if file.text("RescaleType").upper() not in HU_TYPES:
        return f"values that are no HU (rescale type {file.text('RescaleType')})"
    for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        if file.numbers(keyword, count) is None:
            return f"no {keyword}"
    if (file.required("PixelSpacing", 2) <= 0).any():
        return "PixelSpacing that isn't above 0"
    axes = file.required("ImageOrientationPatient", 6).reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=UNIT_AXES):
        return "ImageOrientationPatient that isn't two unit vectors at right angles"
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
    """Part images that share positions, or alternate, by the first tag that tells them apart.

    All stay together where none does.
    """
    is_shared = bool(shared_positions(files))
    for keyword in PHASE_TAGS if is_shared else ACQUISITION_TAGS:
        groups: dict[str, list[DicomFile]] = defaultdict(list)
        for file in files:
            groups[file.text(keyword)].append(file)
        if len(groups) == 1:
            continue
        parted = not any(map(shared_positions, groups.values())) if is_shared else _alternate(files, keyword)
        if parted:
            return [groups[value] for value in sorted(groups, key=_numeric_first)]
    return [files]


def _alternate(files: Sequence[DicomFile], keyword: str) -> bool:
    """Whether an element takes its values by turns from slice to slice, as of two volumes pushed into one another."""
    values = [files[i].text(keyword) for i in np.argsort(positions_along_normal(files))]
    turn = len(set(values))
    return len(values) >= turn * MIN_SLICES and values[turn:] == values[:-turn]


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
