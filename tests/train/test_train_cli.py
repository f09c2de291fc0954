from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from ncct_cta.common.errors import InputError
from ncct_cta.settings import Settings
from ncct_cta.train.command import main
from ncct_cta.train.overrides import flatten, parse_overrides
from ncct_cta.train.workflow import check_overrides


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["--train::lr", "2.0e-4"], {"train::lr": 2.0e-4}),
        (["--train::lr=2.0e-4"], {"train::lr": 2.0e-4}),
        (["--data::patch_size", "[64, 32]"], {"data::patch_size": [64, 32]}),
        (["--data::spacing", "null"], {"data::spacing": None}),
        (["--train::resume", "true", "--train::seed=3"], {"train::resume": True, "train::seed": 3}),
        (["--num_epochs", "5"], {"train::num_epochs": 5}),  # settings of `train` need no section
        (["--data::datalist=a=b.json"], {"data::datalist": "a=b.json"}),
        (["--lr", "-1"], {"train::lr": -1}),
        (["--amp", "off"], {"train::amp": "off"}),  # False for YAML
        (["--train::output_dir", "007"], {"train::output_dir": "007"}),  # 7 for YAML
        (["--output_dir=runs/a #2"], {"train::output_dir": "runs/a #2"}),
        (["--pretrained_G", "''"], {"train::pretrained_G": ""}),
        (["--pretrained_G", "null"], {"train::pretrained_G": None}),
        ([], {}),
    ],
)
def test_words_become_settings(words: list[str], settings: dict[str, Any]) -> None:
    assert parse_overrides(words) == settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train::lr", "1"], "unexpected argument 'train::lr'"),
        (["--train::lr"], "--train::lr needs a value"),
        (["--train::lr", "1", "left over"], "unexpected argument 'left over'"),
    ],
)
def test_words_that_are_no_settings_are_named(words: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_overrides(words)


def test_sections_become_single_settings_and_empty_ones_vanish() -> None:
    flat = flatten({"train": {"lr": 1, "seed": 2}, "data#augment": False, "data::spacing": None, "ema": None})
    assert flat == {"train::lr": 1, "train::seed": 2, "data::augment": False, "data::spacing": None}


def test_settings_are_checked_together_with_the_bundles_and_get_their_types() -> None:
    bundle = {"train": {"_target_": "x", "lr": "1e-3", "handlers": []}, "model": {"channels": [4, 8]}}
    checked = check_overrides(bundle, {"train::seed": "4", "data::patch_size": [32, 32]})
    assert checked == {
        "train::lr": 1e-3,
        "train::seed": 4,
        "model::channels": [4, 8],
        "data::patch_size": [32, 32],
    }
    with pytest.raises(InputError, match="multiples of 2"):
        check_overrides(bundle, {"data::patch_size": [33, 32]})


def test_help_names_the_forms_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for part in ("python -m ncct_cta.train", "--resume", "--section::key value", "--pretrained_G ", "--pretrained_G2 "):
        assert part in text


def test_a_settings_file_is_merged_key_by_key_and_words_win(
    cohort: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    # `lr: 1e-3` and `"7"` are strings for YAML, and numbers for whoever wrote them.
    (tmp_path / "mine.yaml").write_text(
        f"data: {{datalist: {cohort}}}\ntrain: {{lr: 1e-3, seed: '7', output_dir: {tmp_path / 'run'}}}\n"
    )
    words = [*tiny_settings[: tiny_settings.index("--train::lr")], "--train::device", "cpu", "--train::seed", "8"]
    main([str(tmp_path / "mine.yaml"), *words])
    recorded = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert recorded["train"]["lr"] == 1e-3
    assert recorded["train"]["seed"] == 8
    assert recorded["train"]["steps_per_epoch"] == 2
    assert recorded["train"]["grad_clip"] == Settings().train.grad_clip
    assert recorded["model"]["channels"] == [4, 8]
    assert (tmp_path / "run" / "checkpoint_last.pt").is_file()


def test_a_runs_folder_goes_on_with_its_own_settings(trained_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "g"))  # named like a preset
    main([str(run), "--resume", "--train::num_epochs", "2", "--train::output_dir", str(run)])
    recorded = yaml.safe_load((run / "config.yaml").read_text())
    assert recorded["model"]["channels"] == [4, 8]
    assert recorded["train"]["num_epochs"] == 2


def test_what_was_set_for_g_and_does_nothing_beside_g2_is_named(
    cohort: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    small = ["--refine::hidden_dim", "2", "--refine::num_blocks", "1", "--train::warmup_steps", "7"]
    main(["g2", *tiny_settings, *small, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "run")])
    log = (tmp_path / "run" / "train.log").read_text()
    for name in ("lr", "warmup_steps"):
        assert log.count(f"train.{name} does nothing while G2 trains; set refine.{name}") == 1
    assert "train.lr_scheduler" not in log
