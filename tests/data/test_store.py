"""The volume store: contiguous memory maps, keyed by content, safe against other builders and kills."""

from __future__ import annotations

import errno
import json
import mmap
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.common.files import remove_leftovers, temporary_beside
from ncct_cta.data import store as store_module
from ncct_cta.data.cases import Case
from ncct_cta.data.store import VolumeStore
from ncct_cta.data.stored_case import MANIFEST, MOST_OPEN, StoredCase, _mapped

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
    assert isinstance(ncct.base.base.obj, mmap.mmap)
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
        ({"ncct": b"ncct", "cta": b"cta", "ignore": b"mask"}, {"spacing": None}),
        ({"ncct": b"cta", "cta": b"ncct"}, {"spacing": None}),
        ({"ncct": b"ncct", "cta": b"cta"}, {"spacing": [1.0, 1.0, 1.0]}),
    ],
    ids=["ncct", "cta", "lung added", "vessel added", "ignore added", "swapped", "spacing"],
)
def test_another_content_or_setting_is_another_entry(tmp_path, case, contents, settings):
    prepare = CountingPreparation()
    VolumeStore(tmp_path / "cache", prepare, {"spacing": None}).open(case)
    changed = VolumeStore(tmp_path / "cache", prepare, settings)
    changed.open(write_case(tmp_path / "changed", **contents))
    assert prepare.calls == 2
    assert len(folders(changed)) == 2


def test_a_case_that_ignores_nothing_keeps_the_folder_of_before_there_were_such_masks(tmp_path, case):
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {"spacing": None})
    store.open(case)
    assert [folder.name for folder in folders(store)] == ["p1-f1b15d07900a3fb6"]


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
    assert folders(store, ".tmp-*") == []


def build_and_die(store: VolumeStore, case: Case) -> None:
    """Build in a child process that is killed after it has written its first image."""

    def child():
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
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
    assert len(folders(store, ".tmp-*")) == 1  # the kill did hit in the middle
    stored = store.open(case)
    assert prepare.calls == 1
    assert stored.images.keys() == {"ncct", "lung"}


def test_what_a_killed_builder_leaves_goes_with_the_next_build(tmp_path, case):
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    build_and_die(store, case)
    (leftover,) = folders(store, ".tmp-*")
    in_the_making = temporary_beside(leftover)
    in_the_making.mkdir()
    remove_leftovers.cache_clear()  # as in a new process
    store.open(case)
    assert folders(store, ".tmp-*") == [in_the_making]  # of a process that lives


def test_an_unwritable_cache_folder_is_named(tmp_path, case):
    (tmp_path / "file").write_text("")
    store = VolumeStore(tmp_path / "file" / "cache", CountingPreparation(), {})
    with pytest.raises(InputError, match=r"file/cache can't be written .*data\.cache_dir"):
        store.open(case)


@pytest.mark.parametrize("limit", [10, 200], ids=["in the header", "in the image"])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, case, limit):
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    said = FORK.Queue()

    def child():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            store.open(case)
        except InputError as error:
            said.put(str(error))

    process = FORK.Process(target=child)
    process.start()
    message = said.get(timeout=30)
    process.join(timeout=30)
    assert f"case p1: can't be stored in {store.folder} (File too large); free some space" in message
    assert list(store.folder.iterdir()) == []
    assert store.open(case).shape == SHAPE


def cut(folder: Path) -> None:
    content = (folder / "lung.npy").read_bytes()
    (folder / "lung.npy").write_bytes(content[:-7])


def grown(folder: Path) -> None:
    with open(folder / "ncct.npy", "ab") as file:
        file.write(b"more")


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def zeroed(folder: Path) -> None:
    """What some file systems give after a power cut: the size is right, the bytes are not."""
    path = folder / "ncct.npy"
    path.write_bytes(bytes(path.stat().st_size))


def a_folder_in_its_place(folder: Path) -> None:
    (folder / "lung.npy").unlink()
    (folder / "lung.npy").mkdir()


def a_file_in_place_of_all(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def with_manifest(text: str):
    return lambda folder: (folder / MANIFEST).write_text(text)


EYE = {"affine": np.eye(4).tolist(), "build": "x"}
OTHER_SHAPE = {"dtype": "<i2", "shape": [4, 6, 6], "offset": 128, "size": 368}
DAMAGES = {
    "cut": cut,
    "grown": grown,
    "missing": lambda folder: (folder / "lung.npy").unlink(),
    "empty": empty,
    "zeroed": zeroed,
    "a folder": a_folder_in_its_place,
    "a file": a_file_in_place_of_all,
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "manifest cut": with_manifest('{"affine": [[1'),
    "manifest of another kind": with_manifest("[]"),
    "manifest without images": with_manifest(json.dumps(EYE | {"images": {}})),
    "manifest that doesn't add up": with_manifest(json.dumps(EYE | {"images": {"ncct": OTHER_SHAPE}})),
    "manifest not text": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"),
    "manifest nested": with_manifest("[" * 100000),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_damaged_is_built_again_with_one_line(tmp_path, case, damage, caplog):
    prepare = CountingPreparation()
    store = VolumeStore(tmp_path / "cache", prepare, {})
    whole = {key: np.array(image) for key, image in store.open(case).images.items()}
    (folder,) = folders(store)
    damage(folder)
    mended = store.open(case)
    assert prepare.calls == 2
    assert {key: image.tolist() for key, image in mended.images.items()} == {k: v.tolist() for k, v in whole.items()}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"case p1: the cache's {folder} is damaged (")
    assert len(line) - len(str(folder)) < 150
    store.open(case)
    assert prepare.calls == 2
    assert len(list(store.folder.iterdir())) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_cant_be_read_is_built_again(tmp_path, case):
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    store.open(case)
    (folder,) = folders(store)
    (folder / "ncct.npy").chmod(0)
    assert store.open(case).images["ncct"].shape == (4, 6, 5)


def test_an_image_that_reading_fails_on_is_built_again(tmp_path, case, monkeypatch):
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    store.open(case)
    failing = iter([OSError(errno.EIO, "Input/output error", "ncct.npy")])

    def refuse(path, size):
        for error in failing:
            raise error

    monkeypatch.setattr("ncct_cta.data.stored_case._require_whole", refuse)
    store.open(case)
    assert store.prepare.calls == 2


def test_images_read_before_the_mending_stay_readable(tmp_path, case):
    store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
    before = store.open(case)
    image = before.images["ncct"]
    (folder,) = folders(store)
    (folder / "lung.npy").unlink()
    after = store.open(case)
    assert np.array_equal(image, after.images["ncct"])
    assert np.array_equal(before.images["lung"], after.images["lung"])


def test_all_is_on_the_disk_before_it_gets_its_name(tmp_path, case, monkeypatch):
    """A power cut after the rename must find the bytes, and one before it no name."""
    done = []
    sync, rename = os.fsync, os.rename

    def noted_sync(handle):
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    def noted_rename(source, target):
        done.append("renamed")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "rename", noted_rename)
    VolumeStore(tmp_path / "cache", CountingPreparation(), {}).open(case)
    at = done.index("renamed")
    assert {"ncct.npy", "lung.npy"} < set(done[:at])
    assert done[at - 2] == MANIFEST
    assert done[at - 1].startswith(".tmp-")
    assert done[at + 1 :] == ["cache"]


def many_cases(folder: Path, count: int) -> list[Case]:
    return [write_case(folder / str(number), ncct=str(number).encode(), cta=b"cta") for number in range(count)]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts this process' files in /proc")
def test_a_cohort_needs_no_more_files_than_one_case(tmp_path):
    cases = many_cases(tmp_path, 60)
    opened_most = FORK.Queue()

    def child():
        _mapped.cache_clear()  # of the tests before
        already = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (already + MOST_OPEN + 4, already + MOST_OPEN + 4))
        store = VolumeStore(tmp_path / "cache", CountingPreparation(), {})
        stored = [store.open(case) for case in cases]
        most = 0
        for _ in range(2):
            for case in stored:
                assert case.images["ncct"][3].sum() > 0
                assert case.images["lung"].max() == 1
                most = max(most, len(os.listdir("/proc/self/fd")) - already)
        opened_most.put(most)

    process = FORK.Process(target=child)
    process.start()
    process.join(timeout=60)
    assert process.exitcode == 0
    assert 10 < opened_most.get(timeout=1) <= MOST_OPEN + 2


def test_a_worker_is_sent_paths_and_no_voxels(tmp_path):
    class Large(CountingPreparation):
        def __call__(self, case):
            volume = np.arange(64**3, dtype=np.int16).reshape(64, 64, 64)
            return {"ncct": volume, "lung": volume % 2}, np.eye(4)

    store = VolumeStore(tmp_path / "cache", Large(), {})
    stored = [store.open(case) for case in many_cases(tmp_path, 20)]
    total = int(sum(case.images["ncct"][0, 0, 1] for case in stored))  # in use, as in a training that goes on
    sent = pickle.dumps(stored)
    assert len(sent) < 20 * 1000
    received: list[StoredCase] = pickle.loads(sent)
    assert int(sum(case.images["ncct"][0, 0, 1] for case in received)) == total > 0
    assert received[3].shape == (64, 64, 64)
    assert received[3].images.keys() == {"ncct", "lung"}
    with pytest.raises(KeyError):
        received[3].images["cta"]
