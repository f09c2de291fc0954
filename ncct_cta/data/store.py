"""Volumes decompressed once into NumPy files, so that a random slice costs the same in every volume.

A case's folder in the store holds one ``.npy`` per image, laid out (Z, X, Y): an axial slice is one contiguous read.
Folders are named by the content of the case's files and by the settings that shape the result. They are built beside
and renamed when complete and on the disk: two processes may build the same case at once, and one that is killed, or a
power cut, leaves nothing that would be read. What was damaged later is found when the case is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..common.errors import InputError, reason_of
from ..common.files import remove_leftovers, temporary_beside, to_disk
from ..common.keys import IGNORE
from ..volumes.volume_files import files_of_volume
from .cases import KINDS, Case
from .digests import FileDigests
from .stored_case import MANIFEST, DamagedCase, StoredCase, open_stored, write_stored

logger = logging.getLogger(__name__)

# Increase this when the meaning of the stored arrays changes, so that older folders are rebuilt.
STORE_VERSION = 4
DIGESTS = "digests.json"


class VolumeStore:
    """Build and open the decompressed cases.

    Args:
        folder: the store's folder; created when needed.
        prepare: returns a case's images as (X, Y, Z) arrays by batch key, and their affine.
        settings: plain data that affects the result of ``prepare``; part of each case's key.
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
        self.digests = FileDigests(self.folder / DIGESTS)

    def open(self, case: Case) -> StoredCase:
        """Open a case, building it first if it isn't there, and again if it is damaged.

        Raises:
            InputError: if the case's files can't be used or the folder can't be written.
        """
        target = self._target(case)
        if os.path.lexists(target):
            try:
                return open_stored(target, case.name)
            except DamagedCase as damage:
                logger.warning("case %s: the cache's %s is damaged (%s); building it again", case.name, target, damage)
        self._build(case, target)
        try:
            return open_stored(target, case.name)
        except DamagedCase as damage:
            raise InputError(
                f"case {case.name}: {target} can't be read ({damage}); remove it, or set another data.cache_dir"
            ) from damage

    def holds(self, case: Case) -> bool:
        """Whether ``open`` would find the case built; no content of a file is read, so one that is new counts as not.

        A damaged case counts as held: ``open`` builds it again.
        """
        try:
            files = [file for role in KINDS if (path := getattr(case, role)) for file in files_of_volume(path)]
        except OSError:
            return False
        if not all(map(self.digests.knows, files)):
            return False
        return (self._target(case) / MANIFEST).exists()

    def _target(self, case: Case) -> Path:
        return self.folder / f"{case.name}-{self._key(case)}"

    def _key(self, case: Case) -> str:
        digest = hashlib.blake2b(digest_size=8)
        digest.update(json.dumps([STORE_VERSION, self.settings], sort_keys=True).encode())
        for role in KINDS:
            path = getattr(case, role)
            if path is None and role == IGNORE:
                continue  # caches of before there were such masks keep their folders
            digest.update(role.encode() + (b"-" if path is None else self._digest(path)))
        return digest.hexdigest()

    def _digest(self, path: Path) -> bytes:
        """Of all files that an image is read from."""
        try:
            files = files_of_volume(path)
        except OSError as error:
            raise InputError(f"{path}: can't be read ({reason_of(error)}); check the path") from error
        return b"".join(map(self.digests, files))

    def _build(self, case: Case, target: Path) -> None:
        images, affine = self.prepare(case)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.folder)
            # Not mkdtemp: its permissions would keep other users of a shared cache out.
            beside = temporary_beside(target)
            beside.mkdir()
        except OSError as error:
            raise InputError(
                f"the cache folder {self.folder} can't be written ({reason_of(error)}); set another data.cache_dir"
            ) from error
        try:
            write_stored(beside, images, affine)
            _put_in_place(beside, target)
        except OSError as error:
            raise InputError(
                f"case {case.name}: can't be stored in {self.folder} ({reason_of(error)}); free some space, or set "
                "another data.cache_dir"
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _put_in_place(beside: Path, target: Path) -> None:
    """Rename a complete folder; what stands in its place is mended if it is damaged, and else stays."""
    try:
        if not target.is_dir():
            target.unlink(missing_ok=True)
        os.rename(beside, target)
    except OSError:
        if not target.is_dir():
            raise
        _mend(target, beside)
    to_disk(target.parent)


def _mend(target: Path, beside: Path) -> None:
    """Replace the files of a damaged folder, one by one, so that none is missing for a moment for who reads there."""
    with contextlib.suppress(DamagedCase):
        open_stored(target, target.name)
        return  # another process was faster
    for path in sorted(beside.iterdir(), key=lambda path: path.name == MANIFEST):  # which comes last
        place = target / path.name
        if place.is_dir():
            shutil.rmtree(place)
        os.replace(path, place)
    to_disk(target)
