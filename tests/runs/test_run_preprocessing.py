"""A run with a preprocessing of its own is told from others by its text, and its list is built only where trusted."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.transforms import Compose, Flipd, GaussianSmooth, SpatialCropd

from ncct_cta.common.errors import InputError
from ncct_cta.common.hu import to_int16_hu
from ncct_cta.common.keys import NCCT
from ncct_cta.engines.synthesis import synthesise
from ncct_cta.runs.names import BEST, CONFIG, LAST, SETTINGS
from ncct_cta.runs.recorded_preprocessing import checked_wiring, has_own_preprocessing, recorded_preprocessing
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.settings import DataConfig
from ncct_cta.settings.places import bundle_config
from ncct_cta.train.command import main as train
from ncct_cta.transforms import default_preprocessing, preprocess_ncct, preprocessing_digest
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.orientation import to_ras

SMOOTHING = {"_target_": "monai.transforms.GaussianSmoothd", "keys": ["ncct"], "sigma": 0.5}
DATA = DataConfig(spacing=(7.0, 7.0, 7.0))


def shipped() -> dict[str, Any]:
    return ConfigParser.load_config_file(bundle_config("train.yaml"))


def with_step(step: dict[str, Any]) -> dict[str, Any]:
    content = shipped()
    content["preprocessing"].insert(1, step)
    return content


def test_the_shipped_list_is_no_own_one_nor_is_that_of_an_older_version():
    content = shipped()
    assert not has_own_preprocessing(content)
    content.pop("preprocessing")
    assert not has_own_preprocessing(content)
    assert preprocessing_digest(recorded_preprocessing(content, DATA, "c")) == preprocessing_digest(
        default_preprocessing(DATA)
    )


def test_an_own_list_is_refused_and_nothing_of_it_runs(tmp_path):
    mark = tmp_path / "it ran"
    config = with_step({"_target_": "pathlib.Path.touch", "self": f"$__import__('pathlib').Path({str(mark)!r})"})
    assert has_own_preprocessing(config)
    with pytest.raises(InputError, match=r"config\.yaml: the run has a preprocessing of its own.* --trust"):
        recorded_preprocessing(config, DATA, tmp_path / CONFIG)
    assert not mark.exists()


def test_an_own_list_is_built_with_the_runs_settings_where_it_is_trusted():
    steps = recorded_preprocessing(with_step(SMOOTHING), DATA, "c", trust=True).transforms
    assert [type(step).__name__ for step in steps[:4]] == ["LoadCTd", "GaussianSmoothd", "Orientationd", "Spacingd"]
    assert list(steps[3].spacing_transform.pixdim) == [7.0, 7.0, 7.0]


def test_an_own_list_that_cant_be_built_is_named():
    config = with_step({"_target_": "monai.transforms.GaussianSmoothd"})
    with pytest.raises(InputError, match=r"^run/config\.yaml: its preprocessing can't be built \(.*\); correct"):
        recorded_preprocessing(config, DATA, "run/config.yaml", trust=True)


def test_a_training_is_recorded_with_the_preprocessing_it_uses(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(with_step(SMOOTHING)))
    used = recorded_preprocessing(with_step(SMOOTHING), DATA, mine, trust=True)
    assert has_own_preprocessing(checked_wiring(str(mine), DATA, used))
    with pytest.raises(InputError, match=r"the preprocessing isn't the one in .*train\.yaml.*set train::wiring"):
        checked_wiring(bundle_config("train.yaml"), DATA, used)
    with pytest.raises(InputError, match=r"train::wiring .*gone\.yaml: can't be read"):
        checked_wiring(str(tmp_path / "gone.yaml"), DATA, used)


@pytest.fixture(scope="module")
def own_run(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a user's own YAML, which smooths the scans."""
    folder = tmp_path_factory.mktemp("own")
    content = with_step(SMOOTHING)
    content["train"]["wiring"] = str(folder / "mine.yaml")
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    places = ["--data::datalist", str(cohort), "--train::output_dir", str(folder / "run")]
    train([str(folder / "mine.yaml"), "--trust", *tiny_settings, *places])
    return folder / "run"


def test_a_training_with_a_step_of_the_users_own_records_it(own_run):
    config = ConfigParser.load_config_file(str(own_run / CONFIG))
    assert config["preprocessing"] == with_step(SMOOTHING)["preprocessing"]
    settings = torch.load(own_run / BEST, weights_only=True)[SETTINGS]
    assert settings["preprocessing"] == config["preprocessing"]


def test_the_config_of_such_a_run_alone_starts_it_again(own_run, tmp_path):
    config = shutil.copytree(own_run, tmp_path / "run") / CONFIG
    train([str(config), "--trust", "--train::output_dir", str(tmp_path / "again")])
    assert has_own_preprocessing(ConfigParser.load_config_file(str(tmp_path / "again" / CONFIG)))


def test_a_run_with_an_own_list_is_not_inferred_with_another(own_run, tmp_path):
    shutil.copy(own_run / BEST, tmp_path)
    for words in ({"run": str(own_run)}, {"checkpoint": str(tmp_path / BEST)}):
        with pytest.raises(InputError, match="the run has a preprocessing of its own"):
            TrainedModel(**words, device="cpu")
        steps = TrainedModel(**words, device="cpu", trust=True).preprocessing.transforms
        assert type(steps[1]).__name__ == "GaussianSmoothd"


def test_such_a_run_goes_on_with_its_own_list_only(own_run, tmp_path, capsys):
    run = Path(shutil.copytree(own_run, tmp_path / "run"))
    words = ["--resume", "--train::num_epochs", "2", "--train::output_dir", str(run)]
    with pytest.raises(SystemExit):
        train([str(run), *words])
    assert "its scans were preprocessed by another list" in capsys.readouterr().err
    train([str(run), "--trust", *words])
    assert torch.load(run / LAST, weights_only=True)["trainer"]["epoch"] == 2


def test_a_warm_start_from_other_scans_is_said(own_run, cohort, tiny_settings, tmp_path):
    words = ["g_small", *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "run")]
    train([*words, "--train::pretrained_G", str(own_run / BEST)])
    assert "trained on scans that were preprocessed in another way" in (tmp_path / "run" / "train.log").read_text()


def test_inference_applies_the_list_where_it_is_trusted(own_run, cohort, tmp_path):
    """Half a voxel of smoothing in the list, or the same done by hand before: the network's change is the same."""
    model = TrainedModel(str(own_run), device="cpu", trust=True)
    volume = read_ct(next(cohort.glob("*_ncct.nii.gz")))
    smooth = GaussianSmooth(0.5)(torch.from_numpy(volume.array)[None].float())[0].numpy()
    by_hand = dataclasses.replace(volume, array=to_int16_hu(smooth))
    expected = synthesise(by_hand, model.cascade, model.inferer).astype(int) - by_hand.array
    found = synthesise(volume, model.cascade, model.inferer, preprocessing=model.preprocessing).astype(int)
    assert np.abs(found - volume.array - expected).max() <= 1
    plain = synthesise(volume, model.cascade, model.inferer).astype(int)
    assert np.abs(plain - found).max() > 3  # else the list would prove nothing


def test_a_list_that_crops_and_turns_gives_the_change_at_its_place(trained_run, cohort):
    model = TrainedModel(str(trained_run), device="cpu")
    volume = read_ct(next(cohort.glob("*_ncct.nii.gz")))
    steps = default_preprocessing(model.settings.data).transforms
    turned = Compose([*steps[:3], Flipd(NCCT, 0), SpatialCropd(NCCT, roi_start=(8, 8, 0), roi_end=(40, 40, 24))])
    part = (slice(8, 40), slice(8, 40), slice(0, 24))
    found = synthesise(volume, model.cascade, model.inferer, preprocessing=turned).astype(int)
    network_grid = preprocess_ncct(turned, volume)
    ras = to_ras(volume.array, volume.affine)[0]
    flipped = np.array(ras[::-1][part])
    assert np.array_equal(network_grid[0].numpy(), flipped)
    header = volume.header.copy()
    header.set_sform(np.diag([7.0, 7.0, 10.5, 1.0]), code=1)
    piece = dataclasses.replace(volume, array=flipped, header=header)
    expected = synthesise(piece, model.cascade, model.inferer).astype(int) - flipped
    change = (to_ras(found, volume.affine)[0] - ras)[::-1]
    assert np.abs(change[part] - expected).max() <= 1
    assert np.abs(expected).max() > 3
    change[part] = 0
    assert not change.any()  # what the network didn't see
