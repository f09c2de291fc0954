"""G, then G2 on a frozen G, then G2 against D: end to end, from the user's own file, with warm starts and resume."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from same_tree import assert_same_tree
from tiny_engine import same_weights

from ncct_cta.common import keys
from ncct_cta.common.hu import HUWindow
from ncct_cta.handlers import CheckpointHandler
from ncct_cta.infer.command import main as infer
from ncct_cta.losses.reconstruction import ReconstructionLoss
from ncct_cta.runs.names import BEST, LAST, PROGRESS, RANDOM, SETTINGS
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.train.command import main as train

CHECKOUT = Path(__file__).resolve().parents[1]
USERS_FILE = Path(__file__).parent / "fixtures" / "user_settings.yaml"
SMALL_REFINE = {"refine::hidden_dim": 4, "refine::num_blocks": 1, "refine::lr": "1.0e-3", "refine::warmup_steps": 0}
SMALL_D = {"discriminator::hidden_dim": 4, "discriminator::lr": "1.0e-3", "discriminator::warmup_steps": 0}
EVERYTHING = {
    "refine::enabled": "true",
    "registration::enabled": "true",
    "discriminator::enabled": "true",
    "train::skip_warmup": "true",
    **SMALL_REFINE,
    **SMALL_D,
}

Start = Callable[..., Path]


@pytest.fixture(scope="module")
def start(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Train from a preset or a file, with tiny settings and those given; the run's folder."""

    def start(config: str | Path, *words: str, output: Path | None = None, **settings: Any) -> Path:
        output = output or tmp_path_factory.mktemp("flow") / "run"
        places = {"data::datalist": cohort / "datalist.json", "train::output_dir": output}
        given = places | {name.replace("__", "::"): value for name, value in settings.items()}
        train([str(config), *tiny_settings, *as_words(given), *words])
        return output

    return start


def as_words(settings: dict[str, Any]) -> list[str]:
    return [str(word) for name, value in settings.items() for word in (f"--{name}", value)]


@pytest.fixture(scope="module")
def g2_run(start: Start, trained_run: Path) -> Path:
    """G2 on the frozen G of ``trained_run``."""
    return start("g2", train__pretrained_G=trained_run / BEST, **SMALL_REFINE)


@pytest.fixture(scope="module")
def g2_gan_run(start: Start, trained_run: Path, g2_run: Path) -> Path:
    """The adversarial step: the G and G2 of the runs before, D new."""
    return start(
        "g2_gan", train__pretrained_G=trained_run / BEST, train__pretrained_G2=g2_run / BEST, **SMALL_REFINE, **SMALL_D
    )


def checkpoint(run: Path, name: str = LAST) -> dict[str, Any]:
    return torch.load(run / name, weights_only=True)


def part(weights: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def error_line(capsys: pytest.CaptureFixture[str], call: Callable[[], Any]) -> str:
    """What a command that must fail prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        call()
    assert caught.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


# ---- from one step to the next


def test_g2_refines_the_averaged_g_of_the_run_before_and_leaves_it_as_it_was(trained_run, g2_run):
    averaged = part(checkpoint(trained_run, BEST)[keys.EMA], "generator")
    for weights in (checkpoint(g2_run)[keys.NETWORK], checkpoint(g2_run)[keys.EMA]):
        assert same_weights(part(weights, "generator"), averaged)
    trained = part(checkpoint(trained_run, BEST)[keys.NETWORK], "generator")
    assert not same_weights(trained, averaged)  # or the preference would not show


def test_g2_learns_and_says_what_it_changes(g2_run):
    assert part(checkpoint(g2_run)[keys.NETWORK], "refine_net")
    row = rows(g2_run)[-1]
    for name in (keys.INTER_L1, keys.REFINE_DELTA, keys.GNORM_G2, keys.RESIDUAL_MAG, keys.L1_VS_CTA):
        assert float(row[name]) >= 0
    assert float(row[keys.REFINE_DELTA]) > 0
    assert row[keys.GNORM_G] == ""  # a frozen G has no gradient
    assert row[keys.D_REAL] == ""


def test_the_adversarial_step_starts_from_both_nets_and_logs_d(g2_run, g2_gan_run):
    row = rows(g2_gan_run)[-1]
    for name in (keys.D_LOSS, keys.D_REAL, keys.D_FAKE, keys.GAN_G, keys.FEAT_MATCH, keys.GNORM_D):
        assert np.isfinite(float(row[name])), name
    before, after = (
        part(checkpoint(run, name)[keys.EMA], "refine_net") for run, name in ((g2_run, BEST), (g2_gan_run, LAST))
    )
    # Two steps move a weight by 2e-3 at most; another start would be further away.
    assert all((after[name] - before[name]).abs().max() < 5e-3 for name in before)
    assert not same_weights(before, after)


def test_a_checkpoint_holds_every_net_optimiser_and_schedule(g2_gan_run):
    names = set(checkpoint(g2_gan_run))
    assert {keys.NETWORK, keys.EMA, "optimizer", "lr_scheduler", "scaler", PROGRESS, RANDOM, SETTINGS} <= names
    assert {
        "discriminator",
        "discriminator_optimizer",
        "discriminator_lr_scheduler",
        "discriminator_scaler",
    } <= names
    assert checkpoint(g2_gan_run)["discriminator_optimizer"]["state"]


# ---- inference of every kind of run


def hu(folder: Path, suffix: str) -> np.ndarray:
    (path,) = folder.glob(f"*{suffix}.nii.gz")
    return np.asanyarray(nib.load(path).dataobj)


def synthesise(run: Path, source: Path, output: Path, *words: str) -> Path:
    infer(["--run", str(run), "--input", str(source), "--output", str(output), "--device", "cpu", *words])
    return output


@pytest.fixture(scope="module")
def scan(cohort: Path) -> Path:
    return sorted(cohort.glob("*_ncct.nii.gz"))[-1]


def test_the_stages_of_g2_are_g_the_product_and_the_refined_image(trained_run, g2_run, scan, tmp_path):
    of_g = hu(synthesise(trained_run, scan, tmp_path / "g"), "_syncta")
    synthesise(g2_run, scan, tmp_path / "g2", "--save-intermediates")
    coarse, intermediate, refined = (hu(tmp_path / "g2", name) for name in ("_coarse", "_intermediate", "_syncta"))
    ncct = np.asanyarray(nib.load(scan).dataobj).astype(np.float32)
    assert np.array_equal(coarse, of_g)
    window = HUWindow(*TrainedModel(str(g2_run)).settings.data.window)
    inside = (ncct > window.lower) & (ncct < window.upper)
    x, g = (window.normalise(torch.from_numpy(image.astype(np.float32))) for image in (ncct, coarse))
    expected = window.apply_change(torch.from_numpy(ncct), x * g.abs() - x).numpy()
    assert np.abs(intermediate - expected)[inside].max() <= 2  # both are rounded to whole HU
    assert not np.array_equal(refined, intermediate)


def test_intermediates_are_written_only_if_wanted(g2_run, scan, tmp_path):
    synthesise(g2_run, scan, tmp_path)
    assert {path.name.rpartition("_")[2] for path in tmp_path.iterdir()} == {"syncta.nii.gz", "syncta.json"}


def test_intermediates_have_the_scans_grid_also_when_the_network_has_another(start, scan, tmp_path):
    run = start("g_small", data__spacing="[10.5, 10.5, 10.5]", data__patch_size="[16, 16]")
    synthesise(run, scan, tmp_path, "--save-intermediates")
    own = nib.load(scan)
    for name in ("_coarse", "_intermediate", "_syncta"):
        (path,) = tmp_path.glob(f"*{name}.nii.gz")
        written = nib.load(path)
        assert written.shape == own.shape
        assert np.array_equal(written.affine, own.affine)
    assert np.array_equal(hu(tmp_path, "_coarse"), hu(tmp_path, "_syncta"))  # without G2
    assert not np.array_equal(hu(tmp_path, "_coarse"), hu(tmp_path, "_intermediate"))


def test_a_run_with_d_and_r_infers_without_them(g2_gan_run, start, scan, tmp_path):
    everything = start("g2_reg_gan", **EVERYTHING)
    for run in (g2_gan_run, everything):
        output = synthesise(run, scan, tmp_path / run.parent.name)
        image = hu(output, "_syncta")
        assert image.dtype == np.int16
        assert image.shape == nib.load(scan).shape


# ---- the user's own file


def test_the_fixture_is_the_users_file():
    content = yaml.safe_load(USERS_FILE.read_text())
    assert content["refine"] == {
        "enabled": True,
        "hidden_dim": 64,
        "num_blocks": 6,
        "lr": 0.0001,
        "lr_scheduler": "cosine",
        "warmup_steps": 200,
        "freeze_G": True,
    }
    assert content["train"]["pretrained_G2"] == ""


def assert_is_the_users_run(run: Path, trained_run: Path) -> None:
    """All that the file says reached the run; only the paths and the length are others."""
    settings, wanted = checkpoint(run)[SETTINGS], yaml.safe_load(USERS_FILE.read_text())
    for section in ("model", "refine", "discriminator"):
        assert wanted[section].items() <= settings[section].items()
    assert settings["train"]["skip_warmup"] is True
    assert settings["train"]["pretrained_G"] == str(trained_run / BEST)
    assert "discriminator" not in checkpoint(run)
    g = part(checkpoint(run)[keys.EMA], "generator")
    assert same_weights(g, part(checkpoint(trained_run, BEST)[keys.EMA], "generator"))
    g2 = part(checkpoint(run)[keys.NETWORK], "refine_net")
    assert 0.40e6 < sum(value.numel() for value in g2.values()) < 0.55e6


def test_the_users_file_runs_as_written_through_the_command(start, trained_run):
    run = start(USERS_FILE, "--pretrained_G", str(trained_run / BEST))
    assert_is_the_users_run(run, trained_run)


@pytest.mark.slow
def test_the_users_file_runs_as_written_through_monai(cohort, tiny_settings, trained_run, tmp_path):
    command = ["monai.bundle", "run", "training", "--workflow_name", "ncct_cta.train.workflow.SynthesisWorkflow"]
    places = {
        "data::datalist": cohort / "datalist.json",
        "train::pretrained_G": trained_run / BEST,
        "train::output_dir": tmp_path / "run",
    }
    done = subprocess.run(
        [sys.executable, "-m", *command, "--args_file", str(USERS_FILE), *tiny_settings, *as_words(places)],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert_is_the_users_run(tmp_path / "run", trained_run)


def test_the_users_adversarial_step_runs(start, trained_run, g2_run, tmp_path):
    content = yaml.safe_load(USERS_FILE.read_text())
    content["discriminator"] = {"enabled": True, "gan_weight": 1.0, "feat_match_weight": 1.0}
    content["train"] |= {"pretrained_G": str(trained_run / BEST), "pretrained_G2": str(g2_run / BEST)}
    content["refine"] |= {"hidden_dim": 4, "num_blocks": 1}
    (tmp_path / "gan.yaml").write_text(yaml.safe_dump(content))
    run = start(tmp_path / "gan.yaml", **SMALL_D)
    assert float(rows(run)[0][keys.D_LOSS]) > 0  # skip_warmup: from the first epoch on
    assert "discriminator" in checkpoint(run)


# ---- warm starts


def test_d_waits_for_the_warm_up_unless_it_is_skipped(start):
    run = start("g_gan", train__num_epochs=2, discriminator__warmup_epochs=1, train__val_every=2, **SMALL_D)
    assert [row[keys.D_LOSS] != "" for row in rows(run)] == [False, True]


@pytest.mark.parametrize("form", ["G alone", "of a parallel G", "the whole cascade"])
def test_a_plain_state_dict_starts_g(start, trained_run, tmp_path, form):
    cascade = checkpoint(trained_run, BEST)[keys.EMA]
    g = part(cascade, "generator")
    parallel = {f"module.{name}": value for name, value in g.items()}
    torch.save({"G alone": g, "of a parallel G": parallel, "the whole cascade": cascade}[form], tmp_path / "g.pt")
    run = start("g2", "--pretrained_G", str(tmp_path / "g.pt"), train__val_every=2, **SMALL_REFINE)
    assert same_weights(part(checkpoint(run)[keys.NETWORK], "generator"), g)


def test_a_g_of_another_architecture_is_refused_by_its_layers(start, trained_run, capsys, tmp_path):
    torch.save(part(checkpoint(trained_run, BEST)[keys.EMA], "generator"), tmp_path / "g.pt")  # has no settings
    message = error_line(
        capsys,
        lambda: start(
            "g2", "--pretrained_G", str(tmp_path / "g.pt"), output=tmp_path / "run", model__channels="[4, 12]"
        ),
    )
    assert f"{tmp_path / 'g.pt'}: the weights are of another architecture" in message
    assert "of another shape: net.model" in message
    assert "expected (" in message
    assert not (tmp_path / "run").exists()


def test_a_g_that_was_trained_otherwise_is_refused_by_the_settings(start, trained_run, capsys, tmp_path):
    settings = {"model__channels": "[4, 12]", "model__residual_output": "false"}
    message = error_line(
        capsys, lambda: start("g2", "--pretrained_G", str(trained_run / BEST), output=tmp_path / "run", **settings)
    )
    assert message == (
        f"error: {trained_run / BEST}: trained with other settings: model.channels is [4, 12], expected [4, 8]; "
        "model.residual_output is False, expected True; set it so, or start without this checkpoint"
    )
    assert not (tmp_path / "run").exists()


def test_a_g2_that_was_trained_in_another_window_is_refused(start, g2_run, capsys, tmp_path):
    words = ("--pretrained_G2", str(g2_run / BEST), "--data::window", "[-160, 240]")
    message = error_line(capsys, lambda: start("g2", *words, output=tmp_path / "run", **SMALL_REFINE))
    assert "data.window is [-160.0, 240.0], expected [-1000.0, 600.0]" in message


def test_a_missing_checkpoint_is_named(start, capsys, tmp_path):
    nowhere = tmp_path / "checkpoint_epoch0070.pt"
    message = error_line(capsys, lambda: start("g2", "--pretrained_G", str(nowhere), output=tmp_path / "run"))
    assert message == f"error: {nowhere}: there is no such checkpoint; check the path"


def test_a_checkpoint_of_g_alone_has_no_g2(start, trained_run, capsys, tmp_path):
    words = ("--pretrained_G", str(trained_run / BEST), "--pretrained_G2", str(trained_run / BEST))
    message = error_line(capsys, lambda: start("g2", *words, output=tmp_path / "run", **SMALL_REFINE))
    assert "missing: conv_in" in message


def test_a_pretrained_g2_without_a_g2_is_refused(start, g2_run, capsys, tmp_path):
    message = error_line(capsys, lambda: start("g", "--pretrained_G2", str(g2_run / BEST), output=tmp_path / "run"))
    assert "set refine.enabled to true" in message


def test_a_warm_g_of_a_run_that_trains_g_starts_its_average_too(start, trained_run):
    run = start("g", train__pretrained_G=trained_run / BEST, train__lr="1.0e-9")
    start_weights = part(checkpoint(trained_run, BEST)[keys.EMA], "generator")
    for weights in (checkpoint(run)[keys.NETWORK], checkpoint(run)[keys.EMA]):
        for name, value in part(weights, "generator").items():
            torch.testing.assert_close(value, start_weights[name], atol=1e-6, rtol=0)


def test_a_g_that_is_not_frozen_trains_with_its_own_rate(start, trained_run):
    pretrained = part(checkpoint(trained_run, BEST)[keys.EMA], "generator")
    still = start(
        "g2", train__pretrained_G=trained_run / BEST, refine__freeze_G="false", **SMALL_REFINE, train__lr="0.0"
    )
    moved = start("g2", train__pretrained_G=trained_run / BEST, refine__freeze_G="false", **SMALL_REFINE)
    assert same_weights(part(checkpoint(still)[keys.NETWORK], "generator"), pretrained)
    assert not same_weights(part(checkpoint(moved)[keys.NETWORK], "generator"), pretrained)
    assert {group["name"]: group["initial_lr"] for group in checkpoint(moved)["optimizer"]["param_groups"]} == {
        "G2": 1e-3,
        "G": 1e-2,
    }


def test_the_runs_log_says_where_the_nets_started_though_that_was_before_there_was_a_file(g2_gan_run, trained_run):
    log = (g2_gan_run / "train.log").read_text()
    assert log.count(f"generator starts from {trained_run / BEST}") == 1
    assert log.index("refine_net starts from") < log.index("training in ") < log.index("epoch 1/")


# ---- resume


class Killed(KeyboardInterrupt):
    """The user ends the run here."""


def killed_after_epoch_1(self: CheckpointHandler, engine: Any) -> None:
    SAVE(self, engine)
    raise Killed


SAVE = CheckpointHandler.__call__


@pytest.fixture(scope="module")
def everything(start: Start, trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """G2, R and D over 3 epochs, without a break, and up to the end of epoch 1."""
    settings = EVERYTHING | {"train::pretrained_G": trained_run / BEST, "train::num_epochs": 3, "train::val_every": 2}
    settings = {name.replace("::", "__"): value for name, value in settings.items()}
    whole = start("g2_reg_gan", **settings)
    broken = tmp_path_factory.mktemp("broken") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CheckpointHandler, "__call__", killed_after_epoch_1)
        with pytest.raises(SystemExit):  # 130, as after Ctrl-C
            start("g2_reg_gan", output=broken, **settings)
    return {"whole": whole, "broken": broken, "settings": settings}  # type: ignore[dict-item]


def test_a_resumed_run_with_every_net_is_the_uninterrupted_one_bit_for_bit(start, everything, tmp_path):
    assert checkpoint(everything["broken"])[PROGRESS]["epoch"] == 1
    resumed = tmp_path / "run"
    shutil.copytree(everything["broken"], resumed)
    start("g2_reg_gan", "--resume", output=resumed, **everything["settings"])
    one, other = checkpoint(everything["whole"]), checkpoint(resumed)
    assert {"registration", "discriminator", "discriminator_optimizer", "discriminator_lr_scheduler"} <= one.keys()
    for each in (one, other):
        for name in ("output_dir", "resume"):
            each[SETTINGS]["train"].pop(name)
    assert_same_tree(one, other, LAST)
    assert rows(resumed) == rows(everything["whole"])


def test_resuming_goes_on_with_its_own_weights_not_with_the_pretrained_ones(start, everything, tmp_path, capsys):
    """The warm start's file may even be gone."""
    resumed = tmp_path / "run"
    shutil.copytree(everything["broken"], resumed)
    settings = everything["settings"] | {"train__pretrained_G": tmp_path / "gone.pt"}
    start("g2_reg_gan", "--resume", output=resumed, **settings)
    assert same_weights(checkpoint(resumed)[keys.NETWORK], checkpoint(everything["whole"])[keys.NETWORK])


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("data__window", "[-160, 240]", "data.window is [-160.0, 240.0], expected [-1000.0, 600.0]"),
        ("model__residual_output", "false", "model.residual_output is False, expected True"),
        ("refine__fusion", "concat", "refine.fusion is concat, expected product"),
    ],
)
def test_a_run_is_not_resumed_with_settings_that_its_weights_were_not_trained_for(
    start, g2_run, tmp_path, capsys, setting, value, said
):
    resumed = Path(shutil.copytree(g2_run, tmp_path / "run"))
    settings = {name.replace("::", "__"): given for name, given in SMALL_REFINE.items()} | {setting: value}
    message = error_line(capsys, lambda: start("g2", "--resume", output=resumed, train__num_epochs=2, **settings))
    assert f"{resumed / LAST}: trained with other settings: {said}; " in message


# ---- a loss that isn't finite


@pytest.mark.parametrize("preset", ["g_small", "g_gan"])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    start, tmp_path, capsys, monkeypatch, preset
):
    forward, calls = ReconstructionLoss.forward, []

    def breaking(self: ReconstructionLoss, *images: torch.Tensor) -> dict[str, torch.Tensor]:
        terms = forward(self, *images)
        calls.append(torch.is_grad_enabled())
        if sum(calls) == 3:  # the first step of epoch 2; validations don't count
            terms[keys.LOSS] = terms[keys.LOSS] * float("nan")
        return terms

    monkeypatch.setattr(ReconstructionLoss, "forward", breaking)
    settings = {"train__num_epochs": 2, "train__skip_warmup": "true", **SMALL_D}
    message = error_line(capsys, lambda: start(preset, output=tmp_path / "run", **settings))
    assert "the loss is nan at iteration 3 (cases phantom" in message
    assert "train.amp off, then resume" in message
    last = checkpoint(tmp_path / "run")
    assert last[PROGRESS]["epoch"] == 1
    assert all(value.isfinite().all() for value in last[keys.NETWORK].values())
    monkeypatch.setattr(ReconstructionLoss, "forward", forward)
    start(preset, "--resume", output=tmp_path / "run", **settings)
    assert checkpoint(tmp_path / "run")[PROGRESS]["epoch"] == 2
