"""Write CT volumes as NIfTI with exactly the geometry of the scan that they belong to."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.fileholders import FileHolder

from ..common.errors import InputError
from ..common.files import written_whole
from .nifti import Volume, nifti_suffix
from .nifti_file import NiftiHeader

WRITTEN_SUFFIXES = (".nii.gz", ".nii")
SYNTHETIC_NOTE = "synthetic CTA, not for diagnosis"  # NIfTI's descrip field holds 79 characters
# ISA-L (isal): takes a quarter of the time of zlib's fastest level, for files that are 3 % larger.
GZIP_LEVEL = 1


def write_like(hu: np.ndarray, reference: Volume, path: str | Path, *, description: str = SYNTHETIC_NOTE) -> None:
    """Write HU as int16 on the reference's grid: sform, qform, their codes, units and NIfTI version stay exact.

    Args:
        hu: (X, Y, Z) int16 HU.
        reference: the volume whose geometry the file gets.
        path: ends in .nii or .nii.gz; its folder is created. The file is written completely or not at all.
        description: the header's descrip field.

    Raises:
        InputError: if the file can't be written.
    """
    if hu.dtype != np.int16:
        raise TypeError(f"HU to be written are {hu.dtype}, expected int16; use hu.to_int16_hu")
    _write(hu, reference, Path(path), description)


def write_mask_like(mask: np.ndarray, reference: Volume, path: str | Path, *, description: str = "mask") -> None:
    """Write a mask (X, Y, Z) as uint8 on the reference's grid; otherwise as ``write_like``."""
    _write(mask.astype(np.uint8, copy=False), reference, Path(path), description)


def _write(array: np.ndarray, reference: Volume, path: Path, description: str) -> None:
    if array.shape != reference.shape:
        raise ValueError(f"array to be written is {array.shape}, its reference is {reference.shape}; give one grid")
    suffix = nifti_suffix(path)
    if suffix not in WRITTEN_SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in .nii or .nii.gz")
    header = geometry_of(reference.header, array.dtype, description)
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = image_class(array.reshape(reference.stored_shape), None, header)
    image.header.set_slope_inter(1, 0)  # creating the image cleared it, and nibabel would otherwise choose its own
    with _atomic(path, suffix) as file:
        image.to_file_map({"image": FileHolder(fileobj=file)})


def geometry_of(header: NiftiHeader, dtype: np.dtype | type, description: str) -> NiftiHeader:
    """A header with the geometry of another one and nothing else of it."""
    # The fields are copied as they are: setting an affine would re-derive the quaternion and reset the codes.
    header = header.copy()
    header.extensions.clear()  # they describe the acquisition, not the values written here
    header.set_data_offset(0)
    header.set_data_dtype(dtype)
    header["cal_min"], header["cal_max"] = 0, 0
    _clear_text(header)
    header["descrip"] = description.encode()[:79]
    return header


def _clear_text(header: NiftiHeader) -> None:
    """Blank the free text: converters write patients' names and folders into it."""
    for name in header:
        if header[name].dtype.kind == "S" and name not in ("magic", "regular"):
            header[name] = b""


@contextlib.contextmanager
def _atomic(path: Path, suffix: str) -> Iterator[io.IOBase]:
    """Open a file for writing that is renamed to ``path`` once it is complete and on disk."""
    with written_whole(path, suffix) as temporary, open(temporary, "xb") as raw:
        if suffix == ".nii.gz":
            with igzip.IGzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as packed:
                yield packed
        else:
            yield raw
        raw.flush()
        os.fsync(raw.fileno())
