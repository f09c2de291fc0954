"""Nothing that a stranger's file says is executed, and a user's words are data, whatever letters they hold."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import pytest
import torch
import yaml

from ncct_cta.evaluate import main as evaluate
from ncct_cta.infer import main as infer
from ncct_cta.runs.names import BEST, LAST, SETTINGS
from ncct_cta.runs.record import own_wiring
from ncct_cta.settings.places import bundle_config
from ncct_cta.settings.yaml_file import read_yaml
from ncct_cta.train import main as train

NET = """
import pathlib, torch
pathlib.Path(__file__).with_name("imported").touch()

class Net(torch.nn.Module):
    multiple = 2

    def __init__(self, width=3):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 1, width, padding=width // 2)

    def forward(self, x):
        return self.conv(x)
"""


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """What an attack would make."""
    return tmp_path / "victim"


def exit_code(command: Callable[[list[str]], None], words: list[str]) -> int:
    try:
        command(words)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def attack(victim: Path) -> str:
    return f"$__import__('pathlib').Path({str(victim)!r}).touch() or 'x'"


@pytest.fixture
def ncct(cohort: Path) -> str:
    return str(next(cohort.glob("*_ncct.nii.gz")))


@pytest.mark.parametrize(
    "place", ["data::datalist", "data::cache_dir", "model::architecture", "train::device", "unknown"]
)
def test_text_in_a_checkpoint_is_data(place: str, trained_run: Path, ncct: str, victim: Path, tmp_path: Path) -> None:
    content = torch.load(trained_run / BEST, weights_only=True)
    section, _, key = place.partition("::")
    content[SETTINGS].setdefault(section, {})[key or "key"] = attack(victim)
    torch.save(content, tmp_path / "given.pt")
    words = ["--checkpoint", str(tmp_path / "given.pt"), "--input", ncct, "--output", str(tmp_path / "out")]
    assert exit_code(infer, words) in (0, 2)
    assert not victim.exists()


@pytest.mark.parametrize("place", ["data::datalist", "data::cache_dir", "train::output_dir", "training", "my_key"])
def test_text_in_a_runs_config_is_data(
    place: str,
    trained_run: Path,
    ncct: str,
    cohort: Path,
    victim: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # a cache of that name is made
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    section, _, key = place.partition("::")
    if key:
        config[section][key] = attack(victim)
    else:
        config[section] = [attack(victim)]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    new_run = str(tmp_path / "again")
    for command, words in (
        (infer, ["--run", str(run), "--input", ncct, "--output", str(tmp_path / "out")]),
        (evaluate, ["--run", str(run), "--datalist", str(cohort), "--output", str(tmp_path / "scores"), "--no-report"]),
        (train, [str(run), "--train::output_dir", new_run, "--data::datalist", str(cohort), "--train::device", "cpu"]),
    ):
        assert exit_code(command, words) in (0, 2)
    assert not victim.exists()


@pytest.mark.parametrize(
    "content",
    [
        "data: {{datalist: {attack}}}",
        "model: {{arguments: {{net: {{_target_: os.mkdir, path: {victim}}}}}}}",
        "imports: [{attack}]",
        "bundle_root: {attack}",
        "config_file: {own}",
        "logging_file: {own}",
        "training: [{attack}]",
        "train: {{lr: 1.0e-3}}\ntraining: [{attack}]",
        "data: {{_target_: os.mkdir, path: {victim}}}",
    ],
)
def test_a_strangers_preset_runs_no_code(content: str, victim: Path, tmp_path: Path, cohort: Path, capsys) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump({"training": [attack(victim)]}))
    quoted_attack = yaml.safe_dump(attack(victim), default_style='"').strip()
    preset = tmp_path / "preset.yaml"
    preset.write_text(content.format(attack=quoted_attack, victim=victim, own=own) + "\n")
    with pytest.raises(SystemExit) as refused:
        train([str(preset), "--train::output_dir", str(tmp_path / "run")])
    assert refused.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not victim.exists()


@pytest.mark.parametrize("source", ["g_small", "run"])
def test_a_train_yaml_where_the_command_is_typed_is_not_the_wiring(
    source: str, trained_run: Path, cohort: Path, tiny_settings: list[str], victim: Path, tmp_path: Path, monkeypatch
) -> None:
    shutil.copytree(trained_run, tmp_path / "run")
    wiring = read_yaml(bundle_config("train.yaml")) | {"training": [attack(victim)]}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(wiring))
    monkeypatch.chdir(tmp_path)
    train([source, *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", "new"])
    assert not victim.exists()
    assert (tmp_path / "new" / LAST).is_file()


@pytest.mark.parametrize("kind", ["preset", "run"])
def test_a_settings_file_names_no_network_class_unless_it_is_trusted(
    kind: str, trained_run: Path, cohort: Path, tiny_settings: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "strangers_nets.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "strangers_nets", raising=False)
    given = tmp_path / "given.yaml"
    content = read_yaml(trained_run / "config.yaml") if kind == "run" else {"model": {}}
    content["model"] |= {"architecture": "strangers_nets.Net", "arguments": {}}
    given.write_text(yaml.safe_dump(content))
    words = [*tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "new")]
    with pytest.raises(SystemExit) as refused:
        train([str(given), *words])
    assert refused.value.code == 2
    assert "add --trust if you trust where this comes from" in capsys.readouterr().err
    assert not (tmp_path / "imported").exists()
    train([str(given), *words, "--model::architecture", "unet"])
    assert not (tmp_path / "imported").exists()
    train([str(given), *words, "--trust"])
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize("name", ["run #2", "$run", "@run", "%run", "a::b", "rün 100% {x}", "'quoted'"])
def test_a_folder_may_have_any_name(
    name: str, cohort: Path, ncct: str, tiny_settings: list[str], tmp_path: Path
) -> None:
    run, data = tmp_path / name, Path(shutil.copytree(cohort, tmp_path / f"data {name}"))
    train(["g_small", *tiny_settings, "--data::datalist", str(data), "--train::output_dir", str(run)])
    assert (run / LAST).is_file()
    assert read_yaml(run / "config.yaml").keys() >= {"train", "training"}
    train([str(run), "--resume", "--train::num_epochs", "2"])
    assert torch.load(run / LAST, weights_only=True)["trainer"]["epoch"] == 2
    infer(["--run", str(run), "--input", ncct, "--output", str(tmp_path / f"out {name}")])
    (written,) = (tmp_path / f"out {name}").glob("*.nii.gz")
    assert nib.load(written).shape == nib.load(ncct).shape


def test_a_recorded_run_has_no_wiring_of_its_own(trained_run: Path) -> None:
    content = read_yaml(trained_run / "config.yaml")
    assert own_wiring(content) == []
    content["train"]["handlers"] = []
    content["mine"] = 1
    assert own_wiring(content) == ["mine", "train"]


def test_a_network_from_outside_is_used_where_it_is_trusted_and_nowhere_else(
    cohort: Path, ncct: str, tiny_settings: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    (tmp_path / "nets_of_mine.py").write_text(NET)
    imported = tmp_path / "imported"
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "run"
    own = ["--model::architecture", "nets_of_mine.Net", "--model::arguments", "{width: 5}"]
    train(["g_small", *tiny_settings, *own, "--data::datalist", str(cohort), "--train::output_dir", str(run)])
    train([str(run), "--resume", "--train::num_epochs", "2", "--trust"])
    assert torch.load(run / LAST, weights_only=True)["network"]["generator.net.conv.weight"].shape[-1] == 5
    imported.unlink()
    monkeypatch.delitem(sys.modules, "nets_of_mine")
    words = ["--input", ncct, "--output", str(tmp_path / "out")]
    for source in (["--run", str(run)], ["--checkpoint", str(run / BEST)]):
        with pytest.raises(SystemExit) as refused:
            infer([*source, *words])
        assert refused.value.code == 2
        assert "add --trust if you trust where this comes from" in capsys.readouterr().err
        assert not imported.exists()
    infer(["--run", str(run), *words, "--trust"])
    assert imported.exists()
    assert len(list((tmp_path / "out").glob("*_syncta.nii.gz"))) == 1
