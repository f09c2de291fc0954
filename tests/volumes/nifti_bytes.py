"""NIfTI files as bytes, to be changed where a test wants them wrong; offsets are those of nifti1.h."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import nibabel as nib
import numpy as np
from toy_chest import chest_hu

NDIM, DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET, SCALING, UNITS, CODES, QUATERNION, SROW, MAGIC = (
    40, 42, 70, 72, 76, 108, 112, 123, 252, 256, 280, 344,
)  # fmt: skip
AFFINE = np.array([[-1.4, 0.1, 0.0, 90.5], [0.1, 1.4, 0.0, -100.25], [0.0, 0.0, 2.5, -310.0], [0.0, 0.0, 0.0, 1.0]])


def nifti(
    hu: np.ndarray | None = None, *, qform: np.ndarray | None = AFFINE, sform: np.ndarray | None = AFFINE
) -> bytes:
    """A single-file NIfTI-1 of a chest, with sform and qform where they are given."""
    image = nib.Nifti1Image(chest_hu() if hu is None else hu, None)
    image.header.set_qform(qform, 1 if qform is not None else 0)
    image.header.set_sform(sform, 1 if sform is not None else 0)
    return image.to_bytes()


def patched(content: bytes, offset: int, form: str, *values: object) -> bytes:
    """Bytes with values written over those at an offset."""
    changed = bytearray(content)
    struct.pack_into("<" + form, changed, offset, *values)
    return bytes(changed)


def chunks(content: bytes, count: int) -> Sequence[bytes]:
    """Bytes in parts of about one size."""
    step = len(content) // count + 1
    return [content[i : i + step] for i in range(0, len(content), step)]
