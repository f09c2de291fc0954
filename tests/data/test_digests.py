"""A file is read once while it stays the same, and never taken for the same when it doesn't."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.data import digests as module
from ncct_cta.data.digests import FileDigests, content_digest


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read from here on; files of now count as settled."""
    read: list[Path] = []

    def noted(path: Path) -> bytes:
        read.append(path)
        return content_digest(path)

    monkeypatch.setattr(module, "content_digest", noted)
    monkeypatch.setattr(module, "SETTLED_SECONDS", -1.0)
    return read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "scan").write_bytes(b"abc")
    return tmp_path / "scan"


def digest(tmp_path: Path, file: Path) -> bytes:
    """As a process that starts finds it."""
    digests = FileDigests(tmp_path / "digests.json")
    found = digests(file)
    digests.save()
    return found


def test_a_file_is_read_once(tmp_path: Path, file: Path, reads: list[Path]) -> None:
    assert digest(tmp_path, file) == digest(tmp_path, file) == content_digest(file)
    assert reads == [file]


def test_a_file_that_changed_under_its_old_times_is_read_again(tmp_path: Path, file: Path, reads: list[Path]) -> None:
    before, times = digest(tmp_path, file), file.stat()
    file.write_bytes(b"abd")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest(tmp_path, file) == content_digest(file) != before
    assert len(reads) == 2


def test_a_file_that_another_replaced_is_read_again(tmp_path: Path, file: Path, reads: list[Path]) -> None:
    digest(tmp_path, file)
    (tmp_path / "other").write_bytes(b"xyz")
    (tmp_path / "other").replace(file)
    assert digest(tmp_path, file) == content_digest(file)


def test_a_file_of_just_now_is_not_remembered(tmp_path: Path, file: Path, reads: list[Path], monkeypatch) -> None:
    monkeypatch.setattr(module, "SETTLED_SECONDS", 3.0)
    digest(tmp_path, file)
    digest(tmp_path, file)
    assert len(reads) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"/a": 3}', '{"/a": [1, 2, 3, 4, "no hex"]}', "[" * 100_000, '{"/a": []}'])
def test_what_is_remembered_may_be_lost(tmp_path: Path, file: Path, reads: list[Path], text: str) -> None:
    (tmp_path / "digests.json").write_text(text)
    assert digest(tmp_path, file) == digest(tmp_path, file) == content_digest(file)
    assert len(reads) == 1


def test_two_processes_keep_what_the_other_remembers(tmp_path: Path, file: Path, reads: list[Path]) -> None:
    (tmp_path / "second").write_bytes(b"2")
    one, other = (FileDigests(tmp_path / "digests.json") for _ in range(2))
    one(file)
    other(tmp_path / "second")
    one.save()
    other.save()
    digest(tmp_path, file)
    digest(tmp_path, tmp_path / "second")
    assert len(reads) == 2


def test_a_folder_that_cant_be_written_costs_time_only(tmp_path: Path, file: Path, reads: list[Path]) -> None:
    (tmp_path / "a file").touch()
    assert digest(tmp_path / "a file", file) == content_digest(file)


def test_a_file_that_cant_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone: can't be read \(No such file or directory\)"):
        digest(tmp_path, tmp_path / "gone")


def test_a_worker_is_sent_nothing_of_it(tmp_path: Path, file: Path) -> None:
    digests = FileDigests(tmp_path / "digests.json")
    digests(file)
    assert len(pickle.dumps(digests)) < 400
