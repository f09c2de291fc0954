from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from ncct_cta.common import files
from ncct_cta.common.errors import InputError, one_line_errors, reason_of
from ncct_cta.common.files import remove_leftovers, temporary_beside, write_text, written_whole
from ncct_cta.common.terminal import threads_keep_quiet

POSIX = pytest.mark.skipif(os.name != "posix", reason="asks the system for a process, or for a limit on files' sizes")


@pytest.fixture(autouse=True)
def _forget_which_folders_are_clean() -> None:
    remove_leftovers.cache_clear()


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    replace = os.replace
    monkeypatch.setattr(files, "to_disk", lambda path: done.append("folder" if path == tmp_path else "file"))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("name"), replace(*paths)))
    write_text("whole", tmp_path / "a.txt")
    assert done == ["file", "name", "folder"]
    assert (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, OSError(errno.ENOSPC, "No space left on device")])
def test_what_was_there_stays_whole(tmp_path: Path, failure: BaseException | type[BaseException]) -> None:
    def break_off() -> None:
        with written_whole(tmp_path / "a.txt") as temporary:
            temporary.write_text("hal")
            raise failure

    write_text("older", tmp_path / "a.txt")
    with pytest.raises((KeyboardInterrupt, ValueError)):
        break_off()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "older"


@POSIX
def test_what_a_killed_process_left_is_removed_and_no_other_file(tmp_path: Path) -> None:
    beside = "from ncct_cta.common.files import temporary_beside; from pathlib import Path; import sys, os, signal;"
    script = f"{beside} temporary_beside(Path(sys.argv[1])).touch(); os.kill(os.getpid(), signal.SIGKILL)"
    subprocess.run([sys.executable, "-c", script, tmp_path / "a.txt"], timeout=60)
    (killed,) = tmp_path.iterdir()
    mine, folder = temporary_beside(tmp_path / "b"), killed.with_name(f"{killed.name}.d")
    elsewhere = killed.with_name(killed.name.replace(files._machine(), "0" * 8))
    old = killed.with_name(f"{elsewhere.name}.old")
    for path in (mine, elsewhere, old, tmp_path / ".tmp-mine", tmp_path / ".hidden"):
        path.touch()
    folder.mkdir()
    (folder / "slice").touch()
    os.utime(old, (0, time.time() - files.STALE_SECONDS - 60))
    write_text("new", tmp_path / "a.txt")
    names = {".tmp-mine", ".hidden", "a.txt", mine.name, elsewhere.name}
    assert {path.name for path in tmp_path.iterdir()} == names


@POSIX
def test_a_full_disk_is_named_whoever_says_so(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(InputError, match=r"a.txt: can't be written \(File too large\); choose another folder"):
            write_text("x" * 20_000, tmp_path / "a.txt")
        with pytest.raises(OSError, match="requested and") as numpys:
            np.save(tmp_path / "a.npy", np.zeros(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert reason_of(numpys.value) == "no space left, or a limit on files' sizes"
    assert reason_of(OSError(errno.ENOSPC, "No space left on device")) == "No space left on device"
    assert reason_of(OSError()) == "OSError"


def test_a_full_disk_that_nobody_expected_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, one_line_errors():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/g/events.out")
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: runs/g/events.out: can't be written (No space left on device); free some space\n"
    )
    with pytest.raises(FileNotFoundError), one_line_errors():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")  # a fault of this software


def test_a_thread_whose_owner_raises_its_error_again_prints_none(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> None:
        thread = threading.Thread(target=lambda: (_ for _ in ()).throw(error))
        thread.start()
        thread.join()

    before = threading.excepthook
    threading.excepthook = threading.__excepthook__  # pytest has its own
    try:
        with threads_keep_quiet(OSError):
            fail(OSError("disk"))
            assert capsys.readouterr().err == ""
            fail(ValueError("bug"))
        assert "ValueError: bug" in capsys.readouterr().err
    finally:
        threading.excepthook = before
