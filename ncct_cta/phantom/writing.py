"""Write a phantom cohort (NIfTI files and the datalist), byte for byte the same for the same arrays."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np

HELD_OUT_SHARE = 0.15
GZIP_LEVEL = 1


def write_case(folder: Path, name: str, volumes: dict[str, np.ndarray], affine: np.ndarray) -> dict[str, str]:
    """Write ``{name}_{kind}.nii.gz`` for every volume.

    Args:
        folder: existing folder.
        name: of the case.
        volumes: by kind; (X, Y, Z), or (X, Y, Z, 1, 3) for a vector field.
        affine: (4, 4), voxel index to RAS+ mm.

    Returns:
        The case's entry in the datalist: its name, and one file name per kind.
    """
    entry = {"case": name}
    for kind, volume in volumes.items():
        image = nib.Nifti1Image(volume, affine)
        image.header.set_xyzt_units("mm")
        image.set_sform(affine, code="scanner")
        image.set_qform(affine, code="scanner")
        if volume.ndim == 5:
            image.header.set_intent("vector")
        entry[kind] = f"{name}_{kind}.nii.gz"
        # mtime=0 and no file name in the gzip header: equal volumes give equal bytes.
        _write_atomically(folder / entry[kind], gzip.compress(image.to_bytes(), compresslevel=GZIP_LEVEL, mtime=0))
    return entry


def write_datalist(folder: Path, entries: list[dict[str, str]]) -> Path:
    """Write MONAI's datalist with the cases split about 70/15/15; returns its path.

    From three cases on, validation and testing have at least one; training comes first and is never empty.
    """
    held_out = max(round(HELD_OUT_SHARE * len(entries)), 1) if len(entries) >= 3 else 0
    training = len(entries) - 2 * held_out
    split = {
        "training": entries[:training],
        "validation": entries[training : training + held_out],
        "testing": entries[training + held_out :],
    }
    path = folder / "datalist.json"
    _write_atomically(path, (json.dumps(split, indent=2) + "\n").encode())
    return path


def _write_atomically(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
