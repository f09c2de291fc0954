"""A NRRD or MetaImage header from a stranger reads its own voxels, and no other file of the machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.volumes.reading import read_volume

META = (
    "NDims = 3\n{comment}BinaryData = True\nDimSize = 8 8 2\nElementSpacing = 1 1 1\n"
    "ElementType = MET_SHORT\nElementDataFile {sign} {place}\n"
)
NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nsizes: 8 8 2\nspace: left-posterior-superior\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nendian: little\nencoding: raw\n"
    "{field}: {place}\n"
)
LUNG = np.arange(128).reshape(2, 8, 8) % 2
OWN = (np.random.default_rng(0).normal(40, 15, LUNG.shape) - 900 * LUNG).astype("<i2")
OUTSIDE = ["{secret}", "../secret", "./../secret", "sub/../../secret", "LIST\nown\n{secret}", "LIST\nown\n../secret"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A scan's folder beside a file that is none of its reader's business."""
    folder = tmp_path / "scan"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"S3CRET" * 100)
    for name in ("own", "sub/own", "own1", "own2"):
        (folder / name).write_bytes(OWN.tobytes())
    return folder


def meta(place: str, sign: str = "=", comment: str = "") -> str:
    return META.format(place=place, sign=sign, comment=comment)


def nrrd(place: str, field: str = "data file") -> str:
    return NRRD.format(place=place, field=field)


@pytest.mark.parametrize("place", OUTSIDE)
@pytest.mark.parametrize(("suffix", "header"), [(".mhd", meta), (".mha", meta), (".nhdr", nrrd), (".nrrd", nrrd)])
def test_no_file_outside_the_folder_is_read(suffix: str, header, place: str, folder: Path) -> None:
    (folder / f"ct{suffix}").write_text(header(place.format(secret=folder.parent / "secret")))
    with pytest.raises(InputError, match="expected the voxels beside it"):
        read_volume(folder / f"ct{suffix}")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("ct.mhd", meta("../secret", sign=":")),
        ("ct.mhd", meta("../secret", comment="Comment = ElementDataFile = LOCAL\n")),
        ("ct.mhd", meta("LOCAL") + "ElementDataFile = ../secret\n"),
        ("ct.mhd", meta("%c%c/secret 46 46 1")),
        ("ct.mhd", meta("C:secret")),
        ("ct.nhdr", nrrd("../secret", field="DATAFILE")),
        ("ct.nhdr", nrrd("../secret").replace("\n", "\r\n")),
        ("ct.nhdr", nrrd("../secret").replace("\n", "\r")),
        ("ct.nhdr", "NRRD0004\n" + "#\n" * 2**19 + nrrd("../secret")[9:]),
    ],
)
def test_nor_by_another_spelling(name: str, header: str, folder: Path) -> None:
    (folder / name).write_bytes(header.encode())
    with pytest.raises(InputError, match="one file"):
        read_volume(folder / name)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("ct.mhd", meta("own")),
        ("ct.mhd", meta("./sub/own")),
        ("ct.mhd", meta("LIST\nown1\nown2")),
        ("ct.mhd", meta("own%d 1 2 1")),
        ("ct.nhdr", nrrd("own")),
        ("ct.nhdr", nrrd("sub/own")),
        ("ct.nhdr", nrrd("LIST 2\nown1\nown2")),
        ("ct.nhdr", nrrd("own").replace("\n", "\r\n")),
    ],
)
def test_voxels_beside_a_header_are_read(name: str, header: str, folder: Path) -> None:
    (folder / name).write_bytes(header.encode())
    assert np.isin(read_volume(folder / name).array, OWN).all()
