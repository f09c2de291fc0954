"""What a volume is read from, and that whoever remembers it sees a change of each of these files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from toy_chest import chest_hu

from ncct_cta.data.cases import Case
from ncct_cta.data.store import VolumeStore
from ncct_cta.engines.output_record import Model, made_from
from ncct_cta.evaluate.provenance import Provenance
from ncct_cta.prepare.scan_source import ScanSource
from ncct_cta.volumes.volume_files import files_of_volume

PAIR, DETACHED = "ct[1].img", "ct[1].nhdr"


def written(folder: Path, name: str) -> tuple[Path, Path]:
    """A volume of two files: the one that is given, and the one beside it."""
    path = folder / name
    if name == PAIR:
        nib.save(nib.Nifti1Pair(chest_hu(), np.eye(4)), path)
        return path, path.with_suffix(".hdr")
    sitk.WriteImage(sitk.GetImageFromArray(chest_hu()), str(path))
    text = path.read_text()
    path.write_text(text.replace("ct[1].raw.gz", "voxels 7.raw.gz").replace("ct[1].raw", "voxels 7.raw"))
    (voxels,) = folder.glob("*.raw*")
    return path, voxels.rename(folder / voxels.name.replace("ct[1]", "voxels 7"))


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-60] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))


def recorded(path: Path) -> object:
    return made_from(Case("a", path), Model("best.pt", "0", {}))["input_sha256"]


def stored(path: Path) -> object:
    return VolumeStore(path.parent / "store", lambda case: ({}, np.eye(4)), {})._key(Case("a", path))


def prepared(path: Path) -> object:
    return ScanSource(path, None, "a").file_states()


def evaluated(path: Path) -> object:
    """Whether a file made from it once still counts as made from it."""
    product, provenance = path.parent / "made", Provenance(path.parent)
    if product.exists():
        return provenance.is_current(product, [path])
    product.write_text("")
    provenance.add(product, [path])
    return True


@pytest.mark.parametrize("name", [PAIR, DETACHED])
@pytest.mark.parametrize("remember", [recorded, stored, prepared, evaluated])
def test_who_remembers_a_scan_sees_a_change_of_the_file_beside_it(
    tmp_path: Path, remember: Callable[[Path], object], name: str
) -> None:
    given, beside = written(tmp_path, name)
    before = remember(given)
    assert remember(given) == before
    changed(beside)
    assert remember(given) != before


@pytest.mark.parametrize(
    ("name", "header", "expected"),
    [
        ("a.nii.gz", "", []),
        ("a.hdr", "", ["a.img"]),
        ("a.IMG", "", []),
        ("a.img.gz", "", ["a.hdr.gz"]),
        ("a.mhd", "ElementDataFile = s%02d.raw 1 2 1\n", ["s01.raw", "s02.raw"]),
        ("a.mhd", "ElementDataFile = LIST\ns02.raw\ngone\nsub/own\n", ["s02.raw", "sub/own"]),
        ("a.mha", "ElementDataFile = LOCAL\n", []),
        ("a.nrrd", "NRRD0004\ndata file: ./s01.raw\n", ["s01.raw"]),
        ("a.nhdr", "NRRD0004\ndata file: /etc/hostname\n", []),
        ("a.nhdr", "NRRD0004\ndata file: ../a.hdr\n", []),
    ],
)
def test_the_files_of_a_volume(tmp_path: Path, name: str, header: str, expected: list[str]) -> None:
    (tmp_path / "sub").mkdir()
    for other in ("a.img", "a.hdr.gz", "a.raw", "s01.raw", "s02.raw", "sub/own"):
        (tmp_path / other).touch()
    path = tmp_path / name
    path.write_text(header)
    assert files_of_volume(path) == (path, *(tmp_path / other for other in expected))
