"""Sort the DICOM files of a folder into series, and each series into the volumes it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import InputError, fault_in_words
from ..common.progress import progress_bar
from .headers import DicomFile
from .partition import series_of
from .search import dicom_files
from .sorting import may_be_a_slice, part_images

DAMAGED = "files that are empty, damaged or can't be read"
LISTED = 2  # images, reasons and volumes that a message names: it stays a line
NO_CONTRAST_WORDS = ("", "none", "no", "n", "0", "without")


@dataclass(frozen=True, eq=False)
class Series:
    """The images of one series that form one volume, or that form none.

    Args:
        uid: SeriesInstanceUID.
        slices: its files; those of a volume share matrix, orientation and pixel spacing.
        part: 1, 2, ... where the series holds several volumes (phases, reformats), else 0.
        ignored: why this isn't a volume, in plain words; empty for a volume.
        damaged_beside: number of damaged files in the same folders; some of them may be its images.
        left_out: the numbers of the series' images that are in no volume although they may be slices, by the reason.
    """

    uid: str
    slices: tuple[DicomFile, ...]
    part: int = 0
    ignored: str = ""
    damaged_beside: int = 0
    left_out: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def key(self) -> str:
        """The key by which ``choose_series`` finds it: the UID, with ``#2`` for the second volume of a series."""
        return f"{self.uid}#{self.part}" if self.part else self.uid

    @property
    def first(self) -> DicomFile:
        """The file whose header represents the series."""
        return self.slices[0]

    @property
    def voxels(self) -> float:
        """How many it has, by its headers."""
        return sum(file.number("Rows") * file.number("Columns") for file in self.slices)

    @property
    def label(self) -> str:
        """Its name in messages, without anything that could identify a patient."""
        part = f", volume {self.part}" if self.part else ""
        return f"DICOM series {self.first.text('SeriesNumber') or 'without number'}{part}"

    @property
    def names_contrast(self) -> bool:
        """Whether the header names a contrast agent or its route, which doesn't prove that there is one, or none."""
        said = (self.first.text(keyword).lower() for keyword in ("ContrastBolusAgent", "ContrastBolusRoute"))
        return any(words not in NO_CONTRAST_WORDS for words in said)

    @property
    def remark(self) -> str:
        """That images are left out, or may be missing; empty if nothing says so."""
        remarks = [f"left out of the series: {self.listed_left_out}"] if self.left_out else []
        if self.damaged_beside:
            remarks.append(f"{DAMAGED} beside its images: {self.damaged_beside}; slices may be missing")
        return "; ".join(remarks)

    @property
    def listed_left_out(self) -> str:
        """The images that are left out with the reason, as many as a line can hold."""
        texts = []
        for reason, numbers in self.left_out[:LISTED]:
            more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
            texts.append(f"image{'s' * (len(numbers) > 1)} {', '.join(numbers[:LISTED])}{more} ({reason})")
        return ", ".join(texts) + " and others" * (len(self.left_out) > LISTED)

    @property
    def summary(self) -> str:
        """The label with the details that distinguish the series of a study."""
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
        volumes: series, or parts of series, whose images make a volume; ``grid_of`` decides whether they really do.
        ignored: the others, with the reason.
        other_files: number of files that aren't DICOM.
        damaged: files that are empty or can't be read, and DICOM files without a whole header.
    """

    volumes: tuple[Series, ...]
    ignored: tuple[Series, ...]
    other_files: int
    damaged: tuple[Path, ...] = ()

    @property
    def why_none(self) -> str:
        """Describe what the folder holds instead of a volume."""
        reasons = Counter(series.ignored for series in self.ignored)
        found = [f"{count} x {reason}" for reason, count in reasons.items()]
        found += [f"{DAMAGED}: {len(self.damaged)}"] if self.damaged else []
        found += [f"{self.other_files} x no DICOM file"] if self.other_files or not found else []
        return ", ".join(found)

    def choose(self, key: str | None = None) -> Series:
        """Like ``choose_series``, for a folder that has already been searched."""
        volumes = [series for series in self.volumes if key is None or key in (series.key, series.uid)]
        if len(volumes) == 1:
            return volumes[0]
        if volumes:
            listed = "; ".join([volume.summary for volume in volumes[:LISTED]] + ["..."] * (len(volumes) > LISTED))
            raise InputError(
                f"the folder holds {len(volumes)} CT volumes, expected one: {listed}; "
                "name one of them (python -m ncct_cta.prepare scan gives each a name), or move it to a folder of its "
                "own"
            )
        if key is not None:
            raise InputError("the folder no longer holds the DICOM series that was asked for; scan it again")
        raise InputError(f"the folder holds no CT volume, expected a DICOM series: {self.why_none}")


def find_series(
    folder: str | Path, *, progress: bool = False, read: Callable[[Path], DicomFile | None] | None = None
) -> Inventory:
    """Find the CT volumes in a folder and below it.

    Patients may be mixed, and a series may hold localisers and several volumes: ``sorting`` says what is a slice, and
    ``partition`` what makes two volumes. Where no header tells two scans apart, a few slices are read.

    Args:
        folder: a folder, or one file.
        progress: show a progress bar.
        read: what reads a header, see ``headers.dicom_files``.

    Raises:
        InputError: if the folder is missing or can't be read.
    """
    files = dicom_files(folder, progress=progress, read=read)
    damaged_in = Counter(path.parent for path in files.damaged)
    found = [
        volume
        for (_, uid), members in progress_bar(
            sorted(series_of(files.dicom).items()), desc="sorting", unit="series", shown=progress
        )
        for volume in _volumes(uid, members, damaged_in)
    ]
    return Inventory(
        tuple(series for series in found if not series.ignored),
        tuple(series for series in found if series.ignored),
        files.others,
        files.damaged,
    )


def choose_series(folder: str | Path, key: str | None = None) -> Series:
    """Return the only CT volume of a folder, or the one with this key.

    Args:
        folder: searched with its subfolders.
        key: ``Series.key``: a SeriesInstanceUID, or ``{UID}#{part}`` where a series holds several volumes.

    Raises:
        InputError: if there is no such volume, or more than one.
    """
    return find_series(folder).choose(key)


def _volumes(uid: str, files: Sequence[DicomFile], damaged_in: Mapping[Path, int]) -> list[Series]:
    """The volumes that the files of one series make, and what is none."""
    try:
        groups, ignored = part_images(files)
    except Exception as error:  # a header that nobody foresaw: this series', not the folder's
        return [Series(uid, tuple(files), ignored=fault_in_words(error))]
    beside = sum(damaged_in.get(folder, 0) for folder in {file.path.parent for file in files})
    left_out = tuple((reason, _numbers(group)) for reason, group in sorted(ignored.items()) if may_be_a_slice(reason))
    volumes = [
        Series(uid, tuple(group), number if len(groups) > 1 else 0, damaged_beside=beside, left_out=left_out)
        for number, group in enumerate(groups, start=1)
    ]
    return volumes + [Series(uid, tuple(group), ignored=reason) for reason, group in sorted(ignored.items())]


def _numbers(files: Sequence[DicomFile]) -> tuple[str, ...]:
    """The images' numbers, in their order."""
    ordered = sorted(files, key=lambda file: file.number("InstanceNumber"))
    return tuple(file.text("InstanceNumber") or "without number" for file in ordered)
