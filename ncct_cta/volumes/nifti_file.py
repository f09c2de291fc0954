"""One NIfTI file as it lies on the disk: its header and its voxels, whatever its name says of its compression.

The standard is https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h; what it leaves open or what files get wrong
is taken as most programs take it, and said where it changes the picture.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.spatialimages import HeaderDataError

from ..common.errors import InputError
from ..common.hu import INT16_RANGE

MIN_EDGE_VOXELS = 1  # one slice is synthesised like any other
HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
GZIP_ERROR = cast("type[Exception]", isal_zlib.error)  # isal declares it as an instance
GZIP_MAGIC = b"\x1f\x8b"
GZIP_MOST = 1032  # bytes that one byte of a deflated file can become
SLAB_BYTES = 32 * 2**20
REST_BYTES = 2**16  # read at a time after the last voxel
PAIR_SUFFIXES = {".hdr": ".img", ".hdr.gz": ".img.gz"}

NiftiHeader = nib.Nifti1Header  # Nifti2Header is a subclass of it

logger = logging.getLogger(__name__)
# nibabel prints what it repairs in a header (bitpix, qfac, ...) without the file's name.
_SILENT = logging.Logger("nibabel's repairs", logging.CRITICAL + 1)


@dataclass(frozen=True)
class NiftiFile:
    """The header of a NIfTI file, and where its voxels lie.

    Args:
        path: the file that holds the voxels.
        header: checked, with nibabel's repairs.
        shape: as in the header, singleton axes at the end included.
        dtype: of the stored voxels, in the file's byte order.
        offset: of the first voxel, in bytes of the decompressed content.
        slope: HU per stored unit.
        intercept: HU of a stored 0.
    """

    path: Path
    header: NiftiHeader
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float

    @property
    def slice_bytes(self) -> int:
        """Stored bytes per slice (X, Y)."""
        return math.prod(self.shape[:2]) * self.dtype.itemsize


def open_nifti(path: Path) -> NiftiFile:
    """Read the header of a NIfTI file, or of a .hdr/.img pair.

    Raises:
        InputError: if the pair's other file is missing.
        HeaderDataError: if this is no NIfTI header, or one that can't be used.
        OSError, EOFError, igzip's errors: if the file can't be read.
    """
    header_path, voxel_path = _pair(path)
    with _content(header_path) as file:
        block = file.read(HEADER_BYTES)
    header = _parse(block)
    if header_path == voxel_path and header["magic"].item()[:2] == b"ni":
        raise HeaderDataError("this is the header of a .hdr/.img pair; give the .img, beside its .hdr")
    offset = int(header["vox_offset"]) if math.isfinite(header["vox_offset"]) else -1
    if header_path == voxel_path and offset == 0:
        offset = header.single_vox_offset  # some writers leave it out; voxels can't lie within the header
    if offset < 0:
        raise HeaderDataError(f"vox_offset is {header['vox_offset']}, expected a place in the file")
    slope, intercept = _scaling(path, header)
    shape = tuple(int(n) for n in header.get_data_shape())
    return NiftiFile(voxel_path, header, shape, header.get_data_dtype(), offset, slope, intercept)


def read_voxels(file: NiftiFile) -> np.ndarray:
    """(X, Y, Z) of all voxels, scaled: int16 where that holds every value, else float32.

    They are read slab by slab: besides the result, at most ``SLAB_BYTES`` are held at a time.

    Raises:
        InputError: if voxels are NaN or infinite.
        EOFError: if the file is too short for what its header says, which is found before memory is taken for it.
    """
    _require_bytes(file)
    array = np.empty(file.shape[:3], np.int16, order="F")
    not_finite = 0
    for start, raw in _slabs(file):
        slab = raw
        if (file.slope, file.intercept) != (1, 0):
            slab = raw * np.float64(file.slope) + np.float64(file.intercept)
        if slab.dtype.kind == "f":
            with np.errstate(over="ignore"):  # infinite is counted below
                slab = slab.astype(np.float32, copy=False)
            not_finite += int(np.count_nonzero(~np.isfinite(slab)))
        if array.dtype == np.int16 and not not_finite and not _int16_holds(slab):
            array = array.astype(np.float32)
        if not not_finite:
            array[..., start : start + slab.shape[2]] = slab
    if not_finite:
        raise InputError(
            f"{file.path}: {not_finite} of {array.size} voxels are NaN or infinite, expected HU; fill them (air is "
            "-1000)"
        )
    return array


@lru_cache(maxsize=4096)
def warn_once(message: str) -> None:
    """Log a warning that is the same whenever the same file is read."""
    logger.warning(message)


def pair_names(path: Path) -> tuple[Path, ...]:
    """The header's and the voxels' files of a .hdr/.img pair, whether or not they are there; empty for other names."""
    for of_header, of_voxels in PAIR_SUFFIXES.items():
        for suffix in (of_header, of_voxels):
            if path.name.lower().endswith(suffix):
                stem = path.name[: -len(suffix)]
                pair = [path.with_name(stem + other) for other in (of_header, of_voxels)]
                pair[suffix == of_voxels] = path  # as it is spelled
                return pair[0], pair[1]
    return ()


def _pair(path: Path) -> tuple[Path, Path]:
    """The files of the header and of the voxels, which are one but for .hdr/.img."""
    header, voxels = pair_names(path) or (path, path)
    missing = next((other for other in (header, voxels) if not other.is_file()), None)
    if header != voxels and missing is not None:
        raise InputError(f"{path}: one of a .hdr/.img pair, but {missing.name} isn't beside it; copy both")
    return header, voxels


@contextmanager
def _content(path: Path) -> Iterator[BinaryIO]:
    """What a file holds, decompressed if that is gzip; its name may say anything."""
    with open(path, "rb") as raw:
        if _is_gzip(raw):
            with igzip.IGzipFile(fileobj=raw, mode="rb") as content:
                yield cast(BinaryIO, content)
        else:
            yield raw


def _is_gzip(raw: BinaryIO) -> bool:
    magic = raw.read(len(GZIP_MAGIC))
    raw.seek(0)
    return magic == GZIP_MAGIC


def _parse(block: bytes) -> NiftiHeader:
    kinds = (nib.Nifti1Header, nib.Nifti2Header)
    kind = next((kind for kind in kinds if kind.may_contain_header(block)), None)
    if kind is None or len(block) < kind.sizeof_hdr:
        raise HeaderDataError("there is no NIfTI header in it" if block else "it is empty")
    header = kind(block[: kind.sizeof_hdr], check=False)
    dimensions = int(header["dim"][0])
    if not 1 <= dimensions <= 7:
        raise HeaderDataError(f"the header says {dimensions} dimensions, expected 3")
    header.check_fix(logger=_SILENT, error_level=40)
    return header


def _scaling(path: Path, header: NiftiHeader) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):  # the standard: 0 is "not scaled"; NaN is what nibabel writes for it
        return 1.0, 0.0
    if not math.isfinite(intercept):
        warn_once(f"{path}: scl_inter is {intercept}, expected HU; 0 is taken: check that the output is in HU")
        return slope, 0.0
    return slope, intercept


def _require_bytes(file: NiftiFile) -> None:
    """Compare what the header says with the file's size: reading would take the memory first."""
    declared = file.offset + file.shape[2] * file.slice_bytes
    held = file.path.stat().st_size
    with open(file.path, "rb") as raw:
        if _is_gzip(raw):
            held *= GZIP_MOST
    if declared > held:
        raise _ends_early(file, held - file.offset)


def _ends_early(file: NiftiFile, held: int) -> EOFError:
    at = max(0, held) // file.slice_bytes + 1
    return EOFError(f"expected {file.shape[2]} slices, the file ends in slice {at}")


def _int16_holds(slab: np.ndarray) -> bool:
    if slab.dtype == np.int16:
        return True
    if slab.min() < INT16_RANGE[0] or slab.max() > INT16_RANGE[1]:
        return False
    return slab.dtype.kind in "iu" or bool((slab == np.rint(slab)).all())


def _slabs(file: NiftiFile) -> Iterator[tuple[int, np.ndarray]]:
    """(first slice, raw (X, Y, n) slab) in file order; NIfTI stores the last axis slowest, so a slab is one read."""
    x, y, z = file.shape[:3]
    step = max(1, SLAB_BYTES // file.slice_bytes)
    with _content(file.path) as content:
        content.seek(file.offset)
        for start in range(0, z, step):
            n = min(step, z - start)
            data = content.read(n * file.slice_bytes)
            if len(data) != n * file.slice_bytes:
                raise _ends_early(file, start * file.slice_bytes + len(data))
            yield start, np.frombuffer(data, file.dtype).reshape((x, y, n), order="F")
        # Only at its end does gzip compare the checksum. Storage pads with zeros; what else follows are voxels.
        for _ in range(math.ceil(z * file.slice_bytes / REST_BYTES)):
            rest = content.read(REST_BYTES)
            if not rest:
                break
            if len(rest) > x * file.dtype.itemsize and any(rest):
                raise HeaderDataError(f"the header says {x} x {y} x {z} {file.dtype} voxels, but the file holds more")
