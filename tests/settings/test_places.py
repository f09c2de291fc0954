"""Which settings file a word means."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.settings.places import bundle_config, find_config, presets_root


@pytest.mark.parametrize("word", ["g", "g.yaml", "configs/g", "configs/g.yaml"])
def test_a_preset_is_found_by_its_name_from_any_folder(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(word) == str(Path(presets_root()) / "g.yaml")


@pytest.mark.parametrize("word", ["recipes/pix2pix", "configs/recipes/pix2pix.yaml"])
def test_a_recipe_is_found_by_its_folder_and_name(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(word) == str(Path(presets_root()) / "recipes" / "pix2pix.yaml")


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
