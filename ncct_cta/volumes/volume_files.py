"""All files that a volume is read from: the header of some formats has its voxels in files of their own."""

from __future__ import annotations

from pathlib import Path

from .detached import META_SUFFIXES, NRRD_SUFFIXES, voxel_files
from .nifti_file import pair_names


def files_of_volume(path: Path) -> tuple[Path, ...]:
    """The file itself first, then those beside it, as far as they are there, that its volume is read from too.

    Whoever remembers what something was made from must remember them all: another affine stands in the .hdr of an
    .img, and other voxels in the file that an .nhdr names.

    Args:
        path: of a volume in any format, or of a mask.

    Raises:
        OSError: if a header that names files can't be read.
    """
    others = [other for other in pair_names(path) if other.is_file()]
    if path.suffix.lower() in (*META_SUFFIXES, *NRRD_SUFFIXES) and path.is_file():
        others = voxel_files(path)
    return (path, *dict.fromkeys(other for other in others if other != path))
