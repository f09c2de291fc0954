"""Volumes decompressed once into NumPy memory maps, so that a random slice costs the same in every volume.

A case's folder in the store holds one ``.npy`` per image, laid out (Z, X, Y): an axial slice is one contiguous read.
Folders are named by the content of the case's files and by the settings that shape the result. They are built beside
and renamed when complete: two processes may build the same case at once, and one that is killed leaves nothing that
anyone would read.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common.errors import InputError, reason_of
from .cases import Case

# Raise when the stored arrays change meaning: older folders are then built anew.
STORE_VERSION = 2
STALE_SECONDS = 24 * 3600
CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class StoredCase:
    """A case's images as memory maps.

    Args:
        name: the case's name.
        images: by batch key, each (Z, X, Y); images are int16 HU, masks uint8. Z runs from foot to head.
        affine: (4, 4) in mm, of the (X, Y, Z) grid.
    """

    name: str
    images: Mapping[str, np.ndarray]
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(X, Y, Z) in voxels."""
        depth, width, height = next(iter(self.images.values())).shape
        return width, height, depth


class VolumeStore:
    """Build and open the decompressed cases.

    Args:
        folder: where the store lies; made when needed.
        prepare: gives a case's images as (X, Y, Z) arrays by batch key, and their affine.
        settings: plain data that shapes what ``prepare`` gives; part of each case's key.
    """

    def __init__(
        self,
        folder: Path,
        prepare: Callable[[Case], tuple[Mapping[str, np.ndarray], np.ndarray]],
        settings: Mapping[str, object],
    ) -> None:
        self.folder = Path(folder)
        self.prepare = prepare
        self.settings = dict(settings)

    def open(self, case: Case) -> StoredCase:
        """Open a case, building it first if it isn't there.

        Raises:
            InputError: if the case's files can't be used or the folder can't be written.
        """
        target = self.folder / f"{case.name}-{self._key(case)}"
        if not target.is_dir():
            self._build(case, target)
        images = {path.stem: np.load(path, mmap_mode="r") for path in sorted(target.glob("*.npy"))}
        return StoredCase(case.name, images, np.array(json.loads((target / "grid.json").read_text())["affine"]))

    def _key(self, case: Case) -> str:
        digest = hashlib.blake2b(digest_size=8)
        digest.update(json.dumps([STORE_VERSION, self.settings], sort_keys=True).encode())
        for role in ("ncct", "cta", "lung", "vessel"):
            path = getattr(case, role)
            digest.update(role.encode() + (b"-" if path is None else content_digest(path)))
        return digest.hexdigest()

    def _build(self, case: Case, target: Path) -> None:
        images, affine = self.prepare(case)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_stale(self.folder)
            # Not mkdtemp: nobody else could read a shared cache.
            beside = self.folder / f".building-{uuid.uuid4().hex}"
            beside.mkdir()
        except OSError as error:
            raise InputError(
                f"the cache folder {self.folder} can't be written ({reason_of(error)}); set another data.cache_dir"
            ) from error
        try:
            for key, volume in images.items():
                np.save(beside / f"{key}.npy", np.ascontiguousarray(np.moveaxis(volume, -1, 0)))
            (beside / "grid.json").write_text(json.dumps({"affine": affine.tolist()}))
            os.rename(beside, target)
        except OSError as error:
            if not target.is_dir():  # else another process was faster, and its folder holds the same
                raise InputError(
                    f"case {case.name}: can't be stored in {self.folder} ({reason_of(error)}); free some space, or set "
                    "another data.cache_dir"
                ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def content_digest(path: Path) -> bytes:
    """A digest of a file's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()


def remove_stale(folder: Path) -> None:
    """Remove what a killed process left half-built, once it is too old to be still in the making."""
    for leftover in folder.glob(".building-*"):
        try:
            if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
        except FileNotFoundError:  # another process removed it first
            continue


def check_patch_fits(case: StoredCase, patch_size: Sequence[int]) -> None:
    """Refuse a volume that is smaller than a training patch.

    Raises:
        InputError: naming the case, its size, the patch and the remedy.
    """
    if any(size < patch for size, patch in zip(case.shape, patch_size, strict=False)):
        raise InputError(
            f"case {case.name}: the volume is {' x '.join(map(str, case.shape))} voxels, smaller than the patch "
            f"{' x '.join(map(str, patch_size))}; set a smaller data.patch_size or a finer data.spacing"
        )
