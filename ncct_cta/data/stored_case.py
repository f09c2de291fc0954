"""A case in the store: a folder of images and its manifest, written whole and opened on demand."""

from __future__ import annotations

import functools
import json
import math
import mmap
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..common.files import to_disk

MANIFEST = "grid.json"  # of the case's grid and its files
# A map holds its file open, and a process may have 256 files open (macOS) or 1024 (Linux), whatever the cohort's size.
MOST_OPEN = 64


class DamagedCase(Exception):
    """A stored case isn't what was written; the message says in what."""


@dataclass(frozen=True)
class StoredCase:
    """A case's images in the store.

    Args:
        name: the case's name.
        images: by batch key, each (Z, X, Y); images are int16 HU, masks uint8. Z runs from foot to head.
        affine: (4, 4) in mm, of the (X, Y, Z) grid.
        shape: (X, Y, Z) in voxels.
        virtual: whether the NCCT was made from the CTA, as the case list has it; nothing in the store says so.
    """

    name: str
    images: Mapping[str, np.ndarray]
    affine: np.ndarray
    shape: tuple[int, int, int]
    virtual: bool = False


@dataclass(frozen=True)
class ImageFile:
    """Where an image's voxels lie in its file.

    Args:
        dtype: as NumPy writes it, ``<i2`` or ``|u1``.
        shape: (Z, X, Y).
        offset: bytes before the first voxel.
        size: bytes in all.
    """

    dtype: str
    shape: tuple[int, int, int]
    offset: int
    size: int

    def __post_init__(self) -> None:
        if self.offset + math.prod(self.shape) * np.dtype(self.dtype).itemsize != self.size:
            raise ValueError(f"{self} doesn't add up")


class StoredImages(Mapping[str, np.ndarray]):
    """A case's images as memory maps that are opened when they are asked for.

    It holds paths alone, so a worker that is sent one gets some hundred bytes, and a process has ``MOST_OPEN`` files
    open at most.

    Args:
        folder: the case's folder.
        files: by batch key.
        build: what tells this building of the folder from an earlier one.
    """

    def __init__(self, folder: Path, files: Mapping[str, ImageFile], build: str) -> None:
        self.folder = str(folder)
        self.files = dict(files)
        self.build = build

    def __getitem__(self, key: str) -> np.ndarray:
        """The image (Z, X, Y), read-only."""
        return _mapped(os.path.join(self.folder, f"{key}.npy"), self.files[key], self.build)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


@functools.lru_cache(maxsize=MOST_OPEN)
def _mapped(path: str, image: ImageFile, build: str) -> np.ndarray:
    # Not np.load, which reads the header every time: a cohort's cases are opened and closed in turn all the time.
    with open(path, "rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(content, image.dtype, math.prod(image.shape), image.offset).reshape(image.shape)


def write_stored(folder: Path, images: Mapping[str, np.ndarray], affine: np.ndarray) -> None:
    """Write a case's images and, last, the manifest; all of it is on the disk when this returns.

    Args:
        folder: an empty folder.
        images: by batch key, each (X, Y, Z).
        affine: (4, 4) in mm.

    Raises:
        OSError: with its reason, if they can't be written.
    """
    files = {key: asdict(_write_image(folder / f"{key}.npy", volume)) for key, volume in images.items()}
    manifest = {"affine": affine.tolist(), "images": files, "build": uuid.uuid4().hex}
    with open(folder / MANIFEST, "w", encoding="utf-8") as file:
        json.dump(manifest, file)
    to_disk(folder / MANIFEST)
    to_disk(folder)


def _write_image(path: Path, volume: np.ndarray) -> ImageFile:
    """Write an (X, Y, Z) image as (Z, X, Y)."""
    array = np.ascontiguousarray(np.moveaxis(volume, -1, 0))
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        offset = file.tell()
        file.write(array.data)  # not by NumPy, whose error doesn't say that the disk is full
        size = file.tell()
    to_disk(path)
    return ImageFile(array.dtype.str, array.shape, offset, size)


def open_stored(folder: Path, name: str) -> StoredCase:
    """Check a case's folder against its manifest and open it; no image is read.

    Args:
        folder: the case's folder.
        name: the case's name.

    Raises:
        DamagedCase: if a file is missing, cut short or unreadable, or the manifest isn't one.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        affine = np.array(manifest["affine"], dtype=np.float64).reshape(4, 4)
        files = {
            key: ImageFile(**image | {"shape": tuple(image["shape"])}) for key, image in manifest["images"].items()
        }
        for key, image in files.items():
            _require_whole(folder / f"{key}.npy", image.size)
        depth, width, height = next(iter(files.values())).shape
        return StoredCase(name, StoredImages(folder, files, str(manifest["build"])), affine, (width, height, depth))
    except OSError as error:
        raise DamagedCase(f"{Path(error.filename or MANIFEST).name}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration, RecursionError) as error:
        raise DamagedCase(f"{MANIFEST} can't be understood") from error


def _require_whole(path: Path, size: int) -> None:
    with open(path, "rb") as file:  # reading may be forbidden, or fail
        magic = file.read(len(np.lib.format.MAGIC_PREFIX))
        found = os.fstat(file.fileno()).st_size
    if found != size or magic != np.lib.format.MAGIC_PREFIX:
        raise DamagedCase(f"{path.name} has {found} bytes, expected {size}, or isn't NumPy's format")
