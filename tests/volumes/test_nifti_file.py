"""NIfTI files as they are found: the same HU whatever the header's oddity, and one line for what can't be read."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nifti_bytes import (
    AFFINE,
    BITPIX,
    CODES,
    DATATYPE,
    DIM,
    MAGIC,
    NDIM,
    PIXDIM,
    QUATERNION,
    SCALING,
    SROW,
    UNITS,
    VOX_OFFSET,
    chunks,
    nifti,
    patched,
)
from toy_chest import chest_hu

from ncct_cta.common.errors import InputError
from ncct_cta.volumes import nifti_file
from ncct_cta.volumes.nifti import read_ct, read_shape
from ncct_cta.volumes.nifti_write import write_like
from ncct_cta.volumes.reading import is_volume_file, read_volume

PLAIN = nifti()
SHIFTED = nifti((chest_hu().astype(int) + 1200).astype(np.uint16))
NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def _warnings_anew() -> None:
    nifti_file.warn_once.cache_clear()


ODD_BUT_WHOLE = {
    "gzip in .nii": ("a.nii", gzip.compress(PLAIN)),
    "no gzip in .nii.gz": ("a.nii.gz", PLAIN),
    "gzip of several members": ("a.nii.gz", b"".join(map(gzip.compress, chunks(PLAIN, 3)))),
    "zeros after gzip": ("a.nii.gz", gzip.compress(PLAIN) + bytes(512)),
    "zeros after the voxels": ("a.nii", PLAIN + bytes(10240)),
    "slope and intercept NaN": ("a.nii", patched(PLAIN, SCALING, "ff", NAN, NAN)),
    "slope infinite": ("a.nii", patched(PLAIN, SCALING, "ff", INF, 0.0)),
    "slope 0": ("a.nii", patched(PLAIN, SCALING, "ff", 0.0, -1024.0)),
    "slope 1, intercept NaN": ("a.nii", patched(PLAIN, SCALING, "ff", 1.0, NAN)),
    "intercept -1200": ("a.nii", patched(SHIFTED, SCALING, "ff", 1.0, -1200.0)),
    "vox_offset 0": ("a.nii", patched(PLAIN, VOX_OFFSET, "f", 0.0)),
    "negative pixdim": ("a.nii", patched(PLAIN, PIXDIM + 4, "fff", -1.4, -1.4, 2.5)),
    "qfac 0": ("a.nii", patched(PLAIN, PIXDIM, "f", 0.0)),
    "wrong bitpix, no units": ("a.nii", patched(patched(PLAIN, BITPIX, "h", 8), UNITS, "B", 0)),
}


@pytest.mark.parametrize(("name", "content"), ODD_BUT_WHOLE.values(), ids=ODD_BUT_WHOLE.keys())
def test_an_odd_file_gives_its_hu_and_its_place(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    volume = read_ct(tmp_path / name)
    np.testing.assert_array_equal(volume.array, chest_hu())
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    assert read_shape(tmp_path / name) == chest_hu().shape


def test_what_is_read_of_an_odd_file_is_written_as_a_plain_one(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(patched(PLAIN, VOX_OFFSET, "f", 0.0))
    volume = read_ct(tmp_path / "a.nii")
    write_like(volume.array.astype(np.int16), volume, tmp_path / "b.nii")
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / "b.nii").dataobj), chest_hu())


@pytest.mark.parametrize("given", ["a.img", "a.hdr"])
def test_a_pair_is_read_by_either_name(tmp_path: Path, given: str) -> None:
    nib.save(nib.Nifti1Pair(chest_hu(), AFFINE), tmp_path / "a.img")
    assert is_volume_file(tmp_path / "a.img")
    volume = read_volume(tmp_path / given)
    np.testing.assert_array_equal(volume.array, chest_hu())
    write_like(volume.array, volume, tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(read_ct(tmp_path / "b.nii.gz").array, chest_hu())
    np.testing.assert_allclose(read_ct(tmp_path / "b.nii.gz").affine, AFFINE, atol=1e-4)


def test_half_a_pair_names_the_other_half(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(chest_hu(), AFFINE), tmp_path / "a.img")
    (tmp_path / "a.hdr").unlink()
    with pytest.raises(InputError, match=r"a\.img: one of a \.hdr/\.img pair, but a\.hdr isn't beside it"):
        read_ct(tmp_path / "a.img")


def test_a_pairs_header_under_another_name_is_named(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(chest_hu(), AFFINE), tmp_path / "a.img")
    (tmp_path / "a.hdr").rename(tmp_path / "a.nii")
    with pytest.raises(InputError, match=r"header of a \.hdr/\.img pair"):
        read_ct(tmp_path / "a.nii")


def _moved(mm: float) -> np.ndarray:
    moved = AFFINE.copy()
    moved[0, 3] += mm
    return moved


ODD_PLACES = {
    "50 mm apart": (nifti(qform=_moved(50)), "sform and qform place the volume 50 mm apart; the sform is taken"),
    "1 mm apart": (nifti(qform=_moved(1)), "place the volume 1 mm apart"),
    "other axes": (nifti(qform=AFFINE[:, [1, 0, 2, 3]]), "mm apart; the sform is taken"),
    "no rotation": (patched(PLAIN, QUATERNION, "fff", 0.9, 0.9, 0.9), "sform and qform can't both be read"),
    "neither": (patched(PLAIN, CODES, "hh", 0, 0), "neither sform nor qform says where the volume lies"),
    "intercept": (patched(PLAIN, SCALING, "ff", 1.0, NAN), "scl_inter is nan, expected HU; 0 is taken"),
}


@pytest.mark.parametrize(("content", "words"), ODD_PLACES.values(), ids=ODD_PLACES.keys())
def test_what_other_programs_may_take_otherwise_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, words: str
) -> None:
    (tmp_path / "a.nii").write_bytes(content)
    for _ in range(2):
        np.testing.assert_array_equal(read_ct(tmp_path / "a.nii").array, chest_hu())
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'a.nii'}: ")
    assert words in message


@given(angles=st.tuples(*[st.floats(-3.2, 3.2)] * 3), edges=st.tuples(*[st.floats(0.3, 8.0)] * 3))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_forms_that_differ_by_rounding_alone_are_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, angles: tuple, edges: tuple
) -> None:
    affine = np.diag([*edges, 1.0])
    affine[:3, :3] = nib.eulerangles.euler2mat(*angles) * edges
    affine[:3, 3] = 220.0, -180.0, 900.0
    (tmp_path / "a.nii").write_bytes(nifti(qform=affine, sform=affine))
    read_ct(tmp_path / "a.nii")
    assert not caplog.messages


@given(
    order=st.permutations(range(3)),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    angles=st.tuples(*[st.floats(-0.6, 0.6)] * 3),
    shear=st.floats(-0.1, 0.1),
    packed=st.booleans(),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_orientation_comes_back_as_it_was_written(
    tmp_path: Path, order: list[int], signs: tuple, angles: tuple, shear: float, packed: bool
) -> None:
    axes = nib.eulerangles.euler2mat(*angles) @ (np.eye(3)[:, order] * signs * (0.8, 0.9, 2.5))
    affine = nib.affines.from_matvec(axes + shear * np.roll(axes, 1, axis=1), (-100.5, 80.25, -310.0))
    source, output = tmp_path / "a.nii", tmp_path / ("b.nii.gz" if packed else "b.nii")
    source.write_bytes(nifti(sform=affine, qform=None))
    volume = read_ct(source)
    write_like(volume.array, volume, output)
    again = read_ct(output)
    np.testing.assert_array_equal(again.array, chest_hu())
    np.testing.assert_array_equal(again.affine, volume.affine)
    np.testing.assert_allclose(again.affine, affine, atol=1e-4)


DAMAGED = {
    "empty": b"",
    "bzip2": bz2.compress(PLAIN),
    "cut in the header": PLAIN[:300],
    "dimensions 9": patched(PLAIN, NDIM, "h", 9),
    "dimensions 0": patched(PLAIN, NDIM, "h", 0),
    "negative": patched(PLAIN, DIM, "h", -40),
    "no slices": patched(PLAIN, DIM + 4, "h", 0),
    "huge": patched(PLAIN, DIM, "hhh", 32000, 32000, 32000),
    "huge, packed": gzip.compress(patched(PLAIN, DIM, "hhh", 32000, 32000, 32000)),
    "fewer columns than it holds": patched(PLAIN, DIM, "h", 8),
    "fewer slices than it holds, packed": gzip.compress(patched(PLAIN, DIM + 4, "h", 4)),
    "wider voxels than it holds": patched(PLAIN, DATATYPE, "hh", 8, 32),
    "unknown type": patched(PLAIN, DATATYPE, "h", 77),
    "complex": patched(PLAIN, DATATYPE, "hh", 32, 64),
    "voxels far away": patched(PLAIN, VOX_OFFSET, "f", 1e9),
    "voxels nowhere": patched(PLAIN, VOX_OFFSET, "f", NAN),
    "voxels before the file": patched(PLAIN, VOX_OFFSET, "f", -4096.0),
    "magic": patched(PLAIN, MAGIC, "4s", b"oops"),
    "NaN place": patched(PLAIN, SROW, "f", NAN),
    "flat place": patched(PLAIN, SROW, "12f", *[0.0] * 12),
    "voxels of 1e30 mm": patched(PLAIN, SROW, "f", 1e30),
    "infinite slope times HU": patched(PLAIN, SCALING, "ff", 3e38, 0.0),
    "no rotation": patched(nifti(sform=None), QUATERNION, "fff", 0.9, 0.9, 0.9),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_one_line_and_takes_no_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p017.nii.gz").write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as error:
            read_ct(tmp_path / "p017.nii.gz")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(error.value).replace(str(tmp_path), "scans")
    assert message.startswith("scans/p017.nii.gz: ")
    assert "\n" not in message
    assert len(message) <= 300
    assert peak < 4 * 2**20


def test_what_does_not_fit_into_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    (tmp_path / "a.nii").write_bytes(PLAIN)
    monkeypatch.setattr(nifti_file.np, "empty", full)
    with pytest.raises(InputError, match=r"a\.nii: its voxels don't fit into memory; crop it"):
        read_ct(tmp_path / "a.nii")


def test_a_folder_that_is_called_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").mkdir()
    with pytest.raises(InputError, match=r"a\.nii\.gz: this is a folder, expected a NIfTI file"):
        read_ct(tmp_path / "a.nii.gz")


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.nii").write_bytes(PLAIN)
    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(InputError, match=r"a\.nii: can't be read \(Permission denied\)"):
        read_ct(tmp_path / "a.nii")
