"""What NRRD and MetaImage headers say of the bytes that follow, for the damage that ITK reads over.

ITK takes a compressed MetaImage whose checksum is wrong, a header without a spacing (as 1 mm), and a file that holds
more voxels than its header says.

NRRD: https://teem.sourceforge.net/nrrd/format.html; MetaImage: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

from isal import igzip

from .nifti_file import GZIP_ERROR

META = (".mha", ".mhd")
LONGEST_LINE = 2**16
CHUNK_BYTES = 2**20
META_NEEDS = ("ndims", "dimsize", "elementtype", "elementdatafile")


class DamagedImageError(ValueError):
    """A header that lacks what a volume needs, or data that isn't what was written."""


def held_bytes(path: Path) -> int | None:
    """The bytes of voxels that follow a header in the same file, unpacked; None where they are kept in another way.

    Raises:
        DamagedImageError: if the header lacks what a volume needs, or the compressed data is damaged.
    """
    with open(path, "rb") as file:
        fields = _fields(file, meta=path.suffix.lower() in META)
        if path.suffix.lower() in META:
            _require_fields(fields)
            is_plain = fields["elementdatafile"] == "LOCAL" and "headersize" not in fields
            is_plain = is_plain and fields.get("binarydata", "True").lower() == "true"
            encoding = "zlib" if fields.get("compresseddata", "").lower() == "true" else "raw"
        else:
            is_plain = not {"data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"} & set(fields)
            encoding = fields.get("encoding", "").lower()
        if not is_plain:
            return None
        try:
            if encoding == "zlib":
                return _inflated_bytes(file)
            if encoding in ("gzip", "gz"):
                with igzip.IGzipFile(fileobj=file, mode="rb") as unpacked:
                    return sum(len(chunk) for chunk in iter(lambda: unpacked.read(CHUNK_BYTES), b""))
        except (OSError, EOFError, zlib.error, GZIP_ERROR) as error:
            raise DamagedImageError(str(error)) from error
        return path.stat().st_size - file.tell() if encoding == "raw" else None


def _fields(file: BinaryIO, *, meta: bool) -> dict[str, str]:
    """The header's fields in lower case; the file is left at the first byte after it."""
    fields: dict[str, str] = {}
    while line := file.readline(LONGEST_LINE).decode("latin-1").strip():
        key, _, value = line.partition("=" if meta else ":")
        fields[key.strip().lower()] = value.strip()
        if meta and "elementdatafile" in fields:
            break
    return fields


def _require_fields(fields: dict[str, str]) -> None:
    missing = [name for name in META_NEEDS if not fields.get(name)]
    if not fields.get("elementspacing") and not fields.get("elementsize"):
        missing.append("elementspacing")
    if missing:
        raise DamagedImageError(f"the header lacks {', '.join(missing)}")


def _inflated_bytes(file: BinaryIO) -> int:
    inflate, count = zlib.decompressobj(), 0
    while not inflate.eof:
        packed = inflate.unconsumed_tail or file.read(CHUNK_BYTES)
        if not packed:
            raise EOFError("the compressed data ends early")
        count += len(inflate.decompress(packed, CHUNK_BYTES))
    return count
