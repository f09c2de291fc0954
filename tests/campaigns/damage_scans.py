"""Damage by seed, to bytes and to scans."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from pydicom import Dataset, dcmread

NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True)
class Damage:
    """What was done.

    Args:
        name: in words.
        noticeable: whether a program can notice it: the result must then be the undamaged one's, or come with a word.
            Nobody can tell a voxel that a bit flip made 3 HU brighter in a format without checksums.
    """

    name: str
    noticeable: bool = True


def damage_bytes(rng: random.Random, path: Path, *, checked: bool) -> Damage:
    """Damage a file whatever it holds; ``checked``: its format has checksums over all of its content."""
    data = bytearray(path.read_bytes())
    kind = rng.choice(("cut", "cut", "flip", "flip", "flip", "empty", "noise", "text", "doubled", "zeros", "folder"))
    if kind == "cut":
        data = data[: rng.randrange(len(data))]
    elif kind == "flip":
        for _ in range(rng.choice((1, 1, 2, 8, 50))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "empty":
        data = bytearray()
    elif kind == "noise":
        data = bytearray(rng.randbytes(rng.choice((1, 100, len(data)))))
    elif kind == "text":
        data = bytearray("this is no such file, ünd not \ud800 text\n".encode("utf-8", "surrogatepass") * 20)
    elif kind == "doubled":
        data = data * 2
    elif kind == "zeros":  # what a power cut leaves
        start = rng.randrange(len(data))
        data[start:] = bytes(len(data) - start)
    path.unlink()
    path.mkdir() if kind == "folder" else path.write_bytes(data)
    return Damage(kind, checked or kind != "flip")


NIFTI_FIELDS: dict[str, tuple[int, str, tuple]] = {
    "sizeof_hdr": (0, "i", (999,)),
    "magic": (344, "4s", (b"oops",)),
    "dim negative": (42, "h", (-5,)),
    "dim zero": (44, "h", (0,)),
    "dim huge": (42, "hhh", (32000, 32000, 32000)),
    "dim larger": (46, "h", (25,)),
    "dim 30000": (46, "h", (30000,)),
    "ndim 9": (40, "h", (9,)),
    "ndim 0": (40, "h", (0,)),
    "datatype unknown": (70, "h", (77,)),
    "datatype complex": (70, "hh", (32, 64)),
    "datatype rgb": (70, "hh", (128, 24)),
    "datatype uint16": (70, "h", (512,)),
    "datatype float64": (70, "hh", (64, 64)),
    "slope nan": (112, "ff", (NAN, 0.0)),
    "slope inf": (112, "ff", (INF, 0.0)),
    "slope huge": (112, "ff", (1e30, 0.0)),
    "intercept 1024": (112, "ff", (1.0, 1024.0)),
    "intercept inf": (112, "ff", (1.0, INF)),
    "pixdim zero": (80, "fff", (0.0, 0.0, 0.0)),
    "pixdim nan": (80, "f", (NAN,)),
    "pixdim inf": (84, "f", (INF,)),
    "srow nan": (280, "f", (NAN,)),
    "srow singular": (280, "12f", (0.0,) * 12),
    "srow huge": (280, "f", (1e30,)),
    "vox_offset huge": (108, "f", (1e9,)),
    "vox_offset nan": (108, "f", (NAN,)),
    "vox_offset odd": (108, "f", (353.0,)),
}
VOXELS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "some nan": lambda v, r: np.where(r.random(v.shape) < 0.01, np.nan, v).astype(np.float32),
    "some inf": lambda v, r: np.where(r.random(v.shape) < 0.01, np.inf, v).astype(np.float32),
    "all nan": lambda v, r: np.full(v.shape, np.nan, np.float32),
    "constant": lambda v, r: np.zeros_like(v),
    "bytes": lambda v, r: np.clip((v + 1000) / 6, 0, 255).astype(np.uint8),
    "scaled": lambda v, r: ((v + 1000) / 2000).astype(np.float32),
    "signed scaled": lambda v, r: (np.clip((v + 1000) / 800, 0, 2) - 1).astype(np.float32),
    "plus 1024": lambda v, r: (v + 1024).astype(np.int16),
    "huge": lambda v, r: (v * 1e30).astype(np.float64),
    "two channels": lambda v, r: np.stack([v, v], -1),
    "five axes": lambda v, r: np.stack([v, v], -1)[..., None, :],
    "one slice of two axes": lambda v, r: v[:, :, 5],
    "no voxel": lambda v, r: v[:0],
}


def damage_nifti(rng: random.Random, path: Path) -> Damage:
    """Damage a .nii.gz in its packed bytes, its header, or its voxels."""
    kind = rng.choice(("bytes", "bytes", "field", "field", "header bits", "voxels"))
    if kind == "bytes":
        done = damage_bytes(rng, path, checked=True)
        return Damage(f"bytes {done.name}", done.noticeable)
    if kind == "voxels":
        name = rng.choice(sorted(VOXELS))
        image = nib.load(path)
        voxels = VOXELS[name](np.asanyarray(image.dataobj).astype(np.int16), np.random.default_rng(rng.getrandbits(32)))
        path.write_bytes(gzip.compress(nib.Nifti1Image(voxels, image.affine, dtype=voxels.dtype).to_bytes(), 1))
        return Damage(f"voxels {name}")
    raw = bytearray(gzip.decompress(path.read_bytes()))
    if kind == "field":
        name = rng.choice(sorted(NIFTI_FIELDS))
        offset, form, values = NIFTI_FIELDS[name]
        struct.pack_into(f"<{form}", raw, offset, *values)
        path.write_bytes(gzip.compress(bytes(raw), 1))
        return Damage(f"header {name}")
    for _ in range(rng.randint(1, 8)):
        raw[rng.randrange(348)] ^= 1 << rng.randrange(8)
    path.write_bytes(gzip.compress(bytes(raw), 1))
    return Damage("header bits", noticeable=False)


DICOM_VALUES: dict[str, Sequence[Any]] = {
    "Rows": (0, 47, 65535),
    "Columns": (0, 49, 65535),
    "NumberOfFrames": (0, 2, 1_000_000),
    "PixelSpacing": ([0, 0], [-1, 7], [1e9, 1e-9], [7]),
    "ImagePositionPatient": ([-100, -120, 1e9], [-100, -120, -1e300], [0, 0], [-100, 50, 431.5]),
    "ImageOrientationPatient": ([0] * 6, [1, 0, 0, 1, 0, 0], [1, 0, 0], [0.6, 0.8, 0, 0, 0, 1]),
    "RescaleSlope": (0, -1, 1e30),
    "RescaleIntercept": (0, 1e30),
    "RescaleType": ("OD", "US"),
    "BitsAllocated": (1, 8, 32),
    "PixelRepresentation": (0, 7),
    "SamplesPerPixel": (3,),
    "PhotometricInterpretation": ("RGB", "MONOCHROME1", "nonsense"),
    "Modality": ("MR", ""),
    "SOPInstanceUID": ("1.2.3", ""),
    "SeriesInstanceUID": ("1.2.3", ""),
    "InstanceNumber": (0, -(2**31)),
    "PixelData": (b"", b"\x00" * 100),
}
DICOM_TAGS = [*(name for name in DICOM_VALUES if name != "NumberOfFrames"), "PatientID", "StudyInstanceUID"]


def damage_dicom(rng: random.Random, folder: Path) -> Damage:
    """Damage a series: a file's bytes, a tag of one slice or of all, a missing slice, or what lies beside it."""
    files = sorted(folder.iterdir())
    inner = rng.choice(files[1:-1])
    kind = rng.choice(("bytes", "value", "value", "value", "no tag", "no tag", "no slice", "twice", "beside"))
    if kind == "bytes":
        done = damage_bytes(rng, inner, checked=False)
        return Damage(f"bytes of a slice {done.name}", done.noticeable)
    if kind == "no slice":
        inner.unlink()
        return Damage("an inner slice is missing")
    if kind == "twice":
        (folder / "again.dcm").write_bytes(inner.read_bytes())
        return Damage("a slice is there twice")
    if kind == "beside":
        for n in range(rng.randint(1, 5)):
            (folder / f"beside{n}").write_bytes(rng.randbytes(rng.choice((0, 10, 200, 5000))))
        return Damage("other files lie beside it")
    chosen = files if rng.random() < 0.4 else [inner]
    tag = rng.choice(DICOM_TAGS if kind == "no tag" else sorted(DICOM_VALUES))
    value = None if kind == "no tag" else rng.choice(DICOM_VALUES[tag])
    for file in chosen:
        dataset = dcmread(file)
        _set(dataset, tag, value)
        dataset.save_as(file)
    where = "all slices" if len(chosen) > 1 else "a slice"
    # A whole series without it, or with another orientation or spacing, is another series, and may be a good one.
    return Damage(f"{tag} of {where} {'is missing' if value is None else f'is {value!r:.40}'}", len(chosen) == 1)


def _set(dataset: Dataset, tag: str, value: Any) -> None:
    if value is None:
        if tag in dataset:
            delattr(dataset, tag)
        return
    try:
        setattr(dataset, tag, value)
    except ValueError:  # pydicom doesn't write it; scanners did
        delattr(dataset, tag)
