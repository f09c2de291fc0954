"""Output folders belong to one process at a time."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ncct_cta.common import folders
from ncct_cta.common.errors import InputError
from ncct_cta.common.folders import locked_folder

SPAWN = multiprocessing.get_context("spawn")


def hold(folder: Path, said: Connection) -> None:
    with locked_folder(folder):
        said.send("held")
        said.recv()  # never: it is killed


def test_a_folder_is_one_process_alone_until_it_dies(tmp_path, monkeypatch):
    said, theirs = SPAWN.Pipe()
    other = SPAWN.Process(target=hold, args=(tmp_path, theirs), daemon=True)
    other.start()
    assert said.recv() == "held"
    monkeypatch.setattr(folders, "ORPHANS_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"another process is writing to .*; wait until it ends, or set another"):
        locked_folder(tmp_path, "set another").__enter__()
    other.kill()
    other.join()
    with locked_folder(tmp_path):
        assert not other.is_alive()


def test_it_is_free_again_after_the_context(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "ORPHANS_SECONDS", 0.1)
    held = []
    for turn in range(2):
        with locked_folder(tmp_path):
            held.append(turn)
    assert held == [0, 1]
