"""Where a scan lies, without its path in any output."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..dicom.series import Series
from ..volumes.nifti import nifti_suffix
from ..volumes.volume_files import files_of_volume

# Voxels per byte on disk: int16, in a file that may be compressed.
VOXELS_A_BYTE = 1.0


@dataclass(frozen=True)
class ScanSource:
    """The location of a scan.

    Args:
        path: file or folder.
        key: of the DICOM series in the folder, as the key table has it; None where the list gives a path.
        label: its name in outputs and messages; the path may contain a patient's name.
        series: the DICOM series, with the headers of its files; the folder may hold other patients' too.
    """

    path: Path
    key: str | None
    label: str
    series: Series | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """What its voxels are read from."""
        return files_of_volume(self.path) if self.series is None else tuple(file.path for file in self.series.slices)

    def file_states(self) -> list[list[str | int | None]]:
        """The series' key, then size and time of every file; names say no more, and may hold a patient's name."""
        states: list[list[str | int | None]] = [[self.key]]
        for file in sorted(self.files):
            with suppress(FileNotFoundError):
                state = file.stat()
                states.append([state.st_size, state.st_mtime_ns])
        return states

    def hide(self, message: str) -> str:
        """Replace the path and the file's name in a message by the label."""
        spellings = [str(self.path.resolve()), str(self.path.absolute()), str(self.path)]
        if self.path.suffix:  # a folder's name may be a common word, and messages give the full path of folders
            spellings.append(self.path.name)
        for spelling in spellings:
            message = message.replace(spelling, self.label)
        return message


def most_voxels(source: ScanSource) -> float:
    """Return the largest possible number of voxels: of a series from its headers, of a file from its size."""
    if source.series is not None:
        return source.series.voxels
    return source.path.stat().st_size * (0.5 if nifti_suffix(source.path) == ".nii" else VOXELS_A_BYTE)
