"""The volume store: contiguous memory maps, keyed by content, safe against other builders and kills."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.data import store as store_module
from ncct_cta.data.cases import Case
from ncct_cta.data.store import STALE_SECONDS, StoredCase, VolumeStore, check_patch_fits, remove_stale

SHAPE = (6, 5, 4)
FORK = multiprocessing.get_context("fork")  # the modules are loaded already: a child starts at once


class CountingPreparation:
    """Gives arrays with a value of their own for every voxel, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, case: Case) -> tuple[dict[str, np.ndarray], np.ndarray]:
        self.calls += 1
        volume = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
        return {"ncct": volume, "lung": (volume % 2).astype(np.uint8)}, np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return write_case(tmp_path / "scans", ncct=b"ncct", cta=b"cta")


def write_case(folder: Path, **contents: bytes) -> Case:
    folder.mkdir(parents=True, exist_ok=True)
    for role, content in contents.items():
        (folder / role).write_bytes(content)
    return Case("p1", **{role: folder / role for role in contents})


def folders(store: VolumeStore, pattern: str = "p1-*") -> list[Path]:
    return sorted(store.folder.glob(pattern))


def test_a_slice_is_one_contiguous_read_of_a_memory_map(tmp_path, case):
    stored = VolumeStore(tmp_path / "cache", CountingPreparation(), {}).open(case)
    ncct = stored.images["ncct"]
    expected = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    assert isinstance(ncct, np.memmap)
    assert not ncct.flags.writeable
    assert ncct.shape == (4, 6, 5)
    # Neighbouring voxels of a slice are neighbours in the file: the read doesn't depend on the number of slices.
    assert ncct[2].flags.c_contiguous
    assert np.array_equal(ncct[2], expected[:, :, 2])
    assert stored.shape == SHAPE
    assert np.array_equal(stored.affine, np.diag([2.0, 2.0, 3.0, 1.0]))


def test_a_case_is_prepared_once(tmp_path, case):
    prepare = CountingPreparation()
    VolumeStore(tmp_path / "cache", prepare, {}).open(case)
    os.utime(case.ncct, (1, 1))
    elsewhere = write_case(tmp_path / "copy", ncct=b"ncct", cta=b"cta")
    VolumeStore(tmp_path / "cache", prepare, {}).open(case)
    VolumeStore(tmp_path / "cache", prepare, {}).open(elsewhere)
    assert prepare.calls == 1


def test_others_may_read_a_shared_cache(tmp_path, case):
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    store.open(case)
    (tmp_path / "plain").mkdir()
    (entry,) = folders(store)
    assert entry.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("contents", "settings"),
    [
        ({"ncct": b"other", "cta": b"cta"}, {"spacing": None}),
        ({"ncct": b"ncct", "cta": b"other"}, {"spacing": None}),
        ({"ncct": b"ncct", "cta": b"cta", "lung": b"mask"}, {"spacing": None}),
        ({"ncct": b"ncct", "cta": b"cta", "vessel": b"mask"}, {"spacing": None}),
        ({"ncct": b"cta", "cta": b"ncct"}, {"spacing": None}),
        ({"ncct": b"ncct", "cta": b"cta"}, {"spacing": [1.0, 1.0, 1.0]}),
    ],
    ids=["ncct", "cta", "lung added", "vessel added", "swapped", "spacing"],
)
def test_another_content_or_setting_is_another_entry(tmp_path, case, contents, settings):
    prepare = CountingPreparation()
    VolumeStore(tmp_path / "cache", prepare, {"spacing": None}).open(case)
    changed = VolumeStore(tmp_path / "cache", prepare, settings)
    changed.open(write_case(tmp_path / "changed", **contents))
    assert prepare.calls == 2
    assert len(folders(changed)) == 2


def test_a_new_layout_of_the_store_is_another_entry(tmp_path, case, monkeypatch):
    prepare = CountingPreparation()
    VolumeStore(tmp_path / "cache", prepare, {}).open(case)
    monkeypatch.setattr(store_module, "STORE_VERSION", store_module.STORE_VERSION + 1)
    VolumeStore(tmp_path / "cache", prepare, {}).open(case)
    assert prepare.calls == 2


def test_two_processes_that_build_at_once_both_get_the_case(tmp_path, case):
    barrier, results = FORK.Barrier(2), FORK.Queue()

    def prepare_together(case):
        prepared = CountingPreparation()(case)
        barrier.wait(timeout=30)  # both have seen that the case isn't there
        return prepared

    def build():
        stored = VolumeStore(tmp_path / "cache", prepare_together, {}).open(case)
        results.put({key: np.array(image) for key, image in stored.images.items()})

    processes = [FORK.Process(target=build) for _ in range(2)]
    for process in processes:
        process.start()
    first, second = (results.get(timeout=30) for _ in processes)
    for process in processes:
        process.join(timeout=30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert first.keys() == second.keys() == {"ncct", "lung"}
    assert all(np.array_equal(first[key], second[key]) for key in first)
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    assert len(folders(store)) == 1
    assert folders(store, ".building-*") == []


def build_and_die(store: VolumeStore, case: Case) -> None:
    """Build in a child process that is killed after it has written its first image."""
    save = np.save

    def save_and_die(path, array):
        save(path, array)
        os.kill(os.getpid(), signal.SIGKILL)

    def child():
        np.save = save_and_die
        store.open(case)

    process = FORK.Process(target=child)
    process.start()
    process.join(timeout=30)
    assert process.exitcode == -signal.SIGKILL


def test_what_a_killed_builder_leaves_is_never_read(tmp_path, case):
    prepare = CountingPreparation()
    store = VolumeStore(tmp_path / "cache", prepare, {})
    build_and_die(store, case)
    assert folders(store) == []
    assert len(folders(store, ".building-*")) == 1  # the kill did hit in the middle
    stored = store.open(case)
    assert prepare.calls == 1
    assert stored.images.keys() == {"ncct", "lung"}


def test_stale_leftovers_are_removed_and_fresh_ones_kept(tmp_path, case):
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    build_and_die(store, case)
    (leftover,) = folders(store, ".building-*")
    remove_stale(store.folder)
    assert leftover.exists()  # another process may still be at it
    long_ago = time.time() - STALE_SECONDS - 60
    os.utime(leftover, (long_ago, long_ago))
    store.open(case)
    assert not leftover.exists()


def test_an_unwritable_cache_folder_is_named(tmp_path, case):
    (tmp_path / "file").write_text("")
    store = VolumeStore(tmp_path / "file" / "cache", CountingPreparation(), {})
    with pytest.raises(InputError, match=r"file/cache can't be written .*data\.cache_dir"):
        store.open(case)


def test_a_full_disk_leaves_nothing(tmp_path, case, monkeypatch):
    def full(path, array):
        Path(path).write_bytes(b"\x93NUMPY")
        raise OSError(errno.ENOSPC, "No space left on device")

    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        with pytest.raises(InputError, match=r"case p1: .*No space left"):
            store.open(case)
    assert list(store.folder.iterdir()) == []
    assert store.open(case).shape == SHAPE


def test_a_patch_larger_than_the_volume_is_refused():
    stored = StoredCase("p1", {"ncct": np.zeros((4, 6, 5), np.int16)}, np.eye(4))
    check_patch_fits(stored, (6, 5))
    check_patch_fits(stored, (6, 5, 4))
    for patch in ((7, 5), (6, 6), (6, 5, 5)):
        with pytest.raises(InputError, match=r"case p1: the volume is 6 x 5 x 4 voxels.*data\.patch_size"):
            check_patch_fits(stored, patch)
