"""What makes two volumes: the one definition, for scan, infer and prepare alike.

Images belong to one volume if they share

- patient, study and series,
- matrix, pixel spacing, orientation and frame of reference,
- and what ``SCAN_TAGS`` name, wherever two values of it lie among one another: phase, acquisition, contrast agent,
  time, kernel, description. An acquisition that follows where another ended goes on with the same volume.

An identifier that every image has to itself separates nothing: anonymisers write such ones. Even spacing proves nothing
either, since two scans half a step apart are even: where no header tells them apart, their HU by turns do
(``alternation``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime

import numpy as np

from .alternation import take_turns
from .headers import DicomFile
from .positions import are_even, distinct_positions, mean_spacing, positions_along_normal, shared_positions

MIN_SLICES = 2
# Fewer images with a series' UID of their own are images that stand alone: localisers, a bolus' timing.
MIN_IMAGES_OF_OWN_UID = 3
PER_IMAGE_SHARE = 0.5  # an identifier with more values than this share of the images is one per image
SAME_DIRECTION = 2e-3  # difference of direction cosines: a tenth of a degree
SAME_SPACING = 1e-3  # relative
MOST_SCANS = 10  # of one series; more values of a tag say something else
OTHER_SPACING = 3.0  # as many times further apart, the images of a tag's value are strays, no volume
NEXT_SCAN_SECONDS = 5.0  # images of one scan follow one another faster
# What a scanner gives all images of a scan, the surest sign of another scan first.
SCAN_TAGS = (
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "AcquisitionNumber",
    "ContrastBolusAgent",
    "ContrastBolusRoute",
    "KVP",
    "ConvolutionKernel",
    "SeriesDescription",
    "ImageType",
)
GEOMETRY_TAGS = (
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "StudyInstanceUID",
)
# What images that stand alone must share to be a series whose UID an anonymiser has made unique per image.
POOLED_BY = ("SeriesNumber", "SeriesDescription", "ConvolutionKernel", "Rows", "Columns", "PixelSpacing", "Modality")

Key = Callable[[DicomFile], Hashable]
Groups = list[list[DicomFile]]


def series_of(files: Sequence[DicomFile]) -> dict[tuple[str, str], list[DicomFile]]:
    """The files by PatientID and SeriesInstanceUID.

    Slices of which each has a series' UID of its own are one series still, under the smallest of their UIDs.
    """
    found: dict[tuple[str, str], list[DicomFile]] = defaultdict(list)
    for file in files:
        found[file.text("PatientID"), file.text("SeriesInstanceUID")].append(file)
    alone: dict[tuple[str, ...], list[DicomFile]] = defaultdict(list)
    for patient, uid in [key for key, members in found.items() if len(members) == 1]:
        (file,) = found[patient, uid]
        alone[tuple(map(file.text, ("PatientID", *POOLED_BY)))].append(file)
    for pooled in filter(_is_stack, alone.values()):
        for file in pooled:
            del found[file.text("PatientID"), file.text("SeriesInstanceUID")]
        uid = min(file.text("SeriesInstanceUID") for file in pooled)
        found[pooled[0].text("PatientID"), uid] = pooled
    return dict(found)


def volumes_of(files: Sequence[DicomFile]) -> Groups:
    """Part the slices of one series into those of one volume each, the smallest values of a tag first."""
    return [part for group in _one_geometry(files) for part in _one_scan(group)]


def _unless_per_image(files: Sequence[DicomFile], keyword: str) -> Callable[[DicomFile], str]:
    """What reads an identifier, or an empty text where it is one per image."""
    values = {file.text(keyword) for file in files}
    is_per_image = len(values) > max(1, PER_IMAGE_SHARE * len(files))
    return lambda file: "" if is_per_image else file.text(keyword)


def _is_stack(files: Sequence[DicomFile]) -> bool:
    """Whether images lie one beside the other, as slices do and single images don't."""
    places = [(file.numbers("ImagePositionPatient", 3), file.numbers("ImageOrientationPatient", 6)) for file in files]
    if len(files) < MIN_IMAGES_OF_OWN_UID or any(place is None for pair in places for place in pair):
        return False
    turned = any(not np.allclose(places[0][1], axes, 0, SAME_DIRECTION) for _, axes in places)  # type: ignore[arg-type]
    return not turned and not shared_positions(files)


def _one_geometry(files: Sequence[DicomFile]) -> Groups:
    identifiers = [_unless_per_image(files, keyword) for keyword in ("StudyInstanceUID", "FrameOfReferenceUID")]
    groups: Groups = []
    for file in files:
        group = next((group for group in groups if _same_geometry(group[0], file, identifiers)), None)
        if group is None:
            groups.append([file])
        else:
            group.append(file)
    return groups


def _same_geometry(a: DicomFile, b: DicomFile, identifiers: Iterable[Callable[[DicomFile], str]]) -> bool:
    return (
        all(a.text(keyword) == b.text(keyword) for keyword in ("Rows", "Columns"))
        and all(identifier(a) == identifier(b) for identifier in identifiers)
        and np.allclose(
            a.required("ImageOrientationPatient", 6), b.required("ImageOrientationPatient", 6), 0, SAME_DIRECTION
        )
        and np.allclose(a.required("PixelSpacing", 2), b.required("PixelSpacing", 2), SAME_SPACING, 0)
    )


def _one_scan(files: list[DicomFile]) -> Groups:
    """Part images of one geometry by the first sign that tells two scans apart, and the parts by the next one."""
    most = min(MOST_SCANS, max(2, PER_IMAGE_SHARE * len(files)))
    candidates = [groups for key in _signs(files) if 1 < len(groups := _grouped(files, key)) <= most]
    chosen = _telling(files, candidates)
    if chosen is not None:
        return [part for group in chosen for part in _one_scan(group)]
    if not shared_positions(files) and take_turns(files):
        ordered = [files[i] for i in np.argsort(positions_along_normal(files))]
        return [ordered[::2], ordered[1::2]]
    return [files]


def _telling(files: Sequence[DicomFile], candidates: Sequence[Groups]) -> Groups | None:
    """The first grouping that is one by scans; None if none is."""
    shared = shared_positions(files)
    if not shared:
        return next((groups for groups in candidates if _lie_among_one_another(groups)), None)
    left = [sum(map(shared_positions, groups)) for groups in candidates]
    # The first that leaves no position to two images, or else the first that leaves fewer.
    found = [(rest > 0, place) for place, rest in enumerate(left) if rest < shared]
    return candidates[min(found)[1]] if found else None


def _signs(files: Sequence[DicomFile]) -> Iterable[Key]:
    """What may tell scans apart: the tags, the time, and images numbered from one end and then from that end again."""
    for keyword in SCAN_TAGS:
        yield lambda file, keyword=keyword: _numeric_first(file.text(keyword))  # type: ignore[misc]
    scan_at = _clusters([_seconds(file) for file in files], NEXT_SCAN_SECONDS)
    yield lambda file: scan_at.get(_seconds(file), -1)
    # Where the slices are even as a whole, their numbers prove nothing.
    if shared_positions(files) or not are_even(distinct_positions(files)):
        passes = _passes(files)
        if min(Counter(passes.values()).values()) >= MIN_SLICES:
            yield lambda file: passes[id(file)]


def _grouped(files: Iterable[DicomFile], key: Key) -> Groups:
    groups: dict[Hashable, list[DicomFile]] = defaultdict(list)
    for file in files:
        groups[key(file)].append(file)
    return [groups[value] for value in sorted(groups)]  # type: ignore[type-var]  # all of one kind


def _lie_among_one_another(groups: Groups) -> bool:
    """Whether images of several scans share a stretch: none needs the others' to be whole.

    Slices that have another value by mistake leave gaps in the others, and acquisitions that follow one another end
    where the next one starts.
    """
    stacks = sorted((distinct_positions(group) for group in groups if len(group) >= MIN_SLICES), key=len)
    if len(stacks) < 2 or not are_even(largest := stacks.pop()):
        return False
    if any(mean_spacing(stack) > OTHER_SPACING * mean_spacing(largest) for stack in stacks):
        return False
    return any(stack[0] < largest[-1] and stack[-1] > largest[0] for stack in stacks)


def _clusters(seconds: Iterable[float | None], gap: float) -> dict[float | None, int]:
    """A number for each time: the next one after every gap."""
    known = sorted({time for time in seconds if time is not None})
    numbers = np.cumsum(np.diff(known, prepend=known[:1]) > gap)
    return {time: int(number) for time, number in zip(known, numbers, strict=True)}


def _seconds(file: DicomFile) -> float | None:
    time = taken_at(file)
    return None if time is None else (time - datetime(1900, 1, 1)).total_seconds()


def taken_at(file: DicomFile) -> datetime | None:
    """When an image was acquired, or made if that isn't known."""
    date = file.text("AcquisitionDate") or file.text("ContentDate") or file.text("StudyDate")
    time = file.text("AcquisitionTime") or file.text("ContentTime")
    stamp = file.text("AcquisitionDateTime") or date + time
    for length, form in ((14, "%Y%m%d%H%M%S"), (8, "%Y%m%d")):
        try:
            return datetime.strptime(stamp[:length], form)
        except ValueError:
            continue
    return None


def _passes(files: Sequence[DicomFile]) -> dict[int, int]:
    """By the images' ``id``, which pass along the patient each belongs to: a new one where the direction turns."""
    along = positions_along_normal(files)
    order = sorted(range(len(files)), key=lambda i: (files[i].number("InstanceNumber"), along[i]))
    steps = np.sign(np.diff(along[order]))
    direction = np.sign(steps.sum()) or 1.0
    passes = np.concatenate([[0], np.cumsum(steps == -direction)])
    return {id(files[i]): int(number) for i, number in zip(order, passes, strict=True)}


def _numeric_first(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text
