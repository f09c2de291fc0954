"""Parts the images of one series into slices of volumes and what is none."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

import numpy as np
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage, UID_dictionary

from .headers import SOFTWARE, DicomFile, unreadable_number
from .partition import GEOMETRY_TAGS, MIN_SLICES, SCAN_TAGS, volumes_of

ENHANCED = (EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
# Values of ImageType for images that aren't slices of a volume in HU.
NO_SLICE = {
    "LOCALIZER": "localiser",
    "MIP": "projection",
    "MINIP": "projection",
    "PROJECTION IMAGE": "projection",
    "VOLUME RENDERING": "rendering",
    "SCREEN SAVE": "screen capture",
    "DOSE": "dose report",
}
SINGLE = "single image"
NO_CT = "no CT image"
SYNTHETIC = "synthetic CTA"
# RescaleType of HU as scanners spell it: "US", unspecified, is frequent; GE writes "Houndsfield Unit". Spectral maps
# have other ones.
HU_TYPE = re.compile(r"|H\.?U\.?|US|HU_MOD|HOUN[DS]*F(IE|EI)LD([ _-]?UNITS?)?( *[\[(]H\.?U\.?[\])])?", re.IGNORECASE)
GEOMETRY = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
UNIT_AXES = 0.05  # tolerance for the lengths and the scalar product of direction cosines: far above their rounding


def part_images(files: Sequence[DicomFile]) -> tuple[list[list[DicomFile]], dict[str, list[DicomFile]]]:
    """Separate the images of a series, each of which may occur twice.

    Returns:
        Groups that make one volume each (``partition.volumes_of``), of ``MIN_SLICES`` or more; and what is left, by
        the reason why it is no volume.
    """
    ignored: dict[str, list[DicomFile]] = defaultdict(list)
    for file in _without_copies(files):
        ignored[_no_slice(file)].append(file)
    slices = ignored.pop("", [])
    groups = volumes_of(slices)
    volumes = [group for group in groups if len(group) >= MIN_SLICES]
    largest = max(volumes, key=len, default=None)
    for group in groups:
        if len(group) < MIN_SLICES:
            ignored[SINGLE if largest is None else f"{SINGLE}{_difference(group[0], largest[0])}"] += group
    return volumes, ignored


def may_be_a_slice(reason: str) -> bool:
    """Whether what is no volume for this reason may be missed in one: localisers and reports are not."""
    return not reason.startswith(NO_CT) and reason not in (*NO_SLICE.values(), SYNTHETIC)


def _difference(file: DicomFile, other: DicomFile) -> str:
    """In which element an image differs from those of a volume, the geometry's first."""
    differing = (keyword for keyword in (*GEOMETRY_TAGS, *SCAN_TAGS) if file.text(keyword) != other.text(keyword))
    return "".join(f" with another {keyword}" for keyword in islice(differing, 1))


def _without_copies(files: Sequence[DicomFile]) -> list[DicomFile]:
    """Keep each image once: exports often contain a file twice, under two names.

    Its UID says which: unless careless anonymisation has given several images the same, or taken it away.
    """
    images_of: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for file in files:
        images_of[file.text("SOPInstanceUID")].add((file.text("InstanceNumber"), file.text("ImagePositionPatient")))
    unique: dict[object, DicomFile] = {}
    for file in files:
        uid = file.text("SOPInstanceUID")
        unique.setdefault(uid if uid and len(images_of[uid]) == 1 else file.path, file)
    return list(unique.values())


def _no_slice(file: DicomFile) -> str:
    """Return why an object isn't a slice of a CT volume; empty if it is one."""
    sop_class = file.text("SOPClassUID")
    if sop_class in ENHANCED:
        return "enhanced multi-frame CT, which isn't read: export it as classic CT images"
    if sop_class != CTImageStorage:
        name = UID_dictionary[sop_class][0] if sop_class in UID_dictionary else file.text("Modality")
        return f"{NO_CT} ({name or 'unknown object'})"
    if file.text("Manufacturer") == SOFTWARE:
        return SYNTHETIC  # neither an input nor a CTA to learn from
    for value in file.text("ImageType").upper().split("\\"):
        if value in NO_SLICE:
            return NO_SLICE[value]
    if file.number("SamplesPerPixel", 1) != 1:
        return "colour picture"
    if file.text("PhotometricInterpretation").upper() == "MONOCHROME1":
        return "inverted values (MONOCHROME1), which aren't read: export it as MONOCHROME2"  # GDCM would give 2047 - HU
    if file.number("NumberOfFrames", 1) != 1:
        return (
            f"{file.text('NumberOfFrames')} frames in one CT image, which aren't read: export it as classic CT images"
        )
    if not HU_TYPE.fullmatch(file.text("RescaleType")):
        return f"values that are no HU (rescale type {file.text('RescaleType')})"
    return _bad_geometry(file)


def _bad_geometry(file: DicomFile) -> str:
    """What is wrong with an image's place; empty if nothing is."""
    for keyword, count in GEOMETRY:
        if file.numbers(keyword, count) is None:
            return unreadable_number(file, keyword)
    if (file.required("PixelSpacing", 2) <= 0).any():
        return "PixelSpacing that isn't above 0"
    axes = file.required("ImageOrientationPatient", 6).reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=UNIT_AXES):
        return "ImageOrientationPatient that isn't two unit vectors at right angles"
    return ""
