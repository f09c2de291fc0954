"""Which settings file a word means, and output folders that belong to one process at a time."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from ncct_cta import paths
from ncct_cta.errors import InputError
from ncct_cta.paths import bundle_config, find_config, locked_folder, presets_root

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
    monkeypatch.setattr(paths, "ORPHANS_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"another process is writing to .*; wait until it ends, or set another"):
        locked_folder(tmp_path, "set another").__enter__()
    other.kill()
    other.join()
    with locked_folder(tmp_path):
        assert not other.is_alive()


def test_it_is_free_again_after_the_context(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ORPHANS_SECONDS", 0.1)
    held = []
    for turn in range(2):
        with locked_folder(tmp_path):
            held.append(turn)
    assert held == [0, 1]


@pytest.mark.parametrize("word", ["g", "g.yaml", "configs/g", "configs/g.yaml"])
def test_a_preset_is_found_by_its_name_from_any_folder(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(word) == str(Path(presets_root()) / "g.yaml")


@pytest.mark.parametrize("word", ["train.yaml", "bundles/ncct_cta/configs/train.yaml"])
def test_the_bundles_wiring_is_found_from_any_folder(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(word) == bundle_config("train.yaml")


@pytest.mark.parametrize(
    "word", ["nowhere/g.yaml", "runs/g", "./g", "g/", "bundles/ncct_cta/configs/g.yaml", "configs"]
)
def test_no_other_path_means_a_shipped_file(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "g").mkdir(parents=True)
    with pytest.raises(InputError, match=f"there is no settings file {word}; give a YAML file"):
        find_config(word)


@pytest.mark.parametrize(("word", "found"), [("runs/g", "runs/g/config.yaml"), ("runs/g.yaml", "runs/g.yaml")])
def test_a_run_is_its_settings_whatever_preset_has_its_name(word, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "g").mkdir(parents=True)
    for name in ("runs/g/config.yaml", "runs/g.yaml"):
        (tmp_path / name).write_text("train: {}")
    assert find_config(word) == found
