"""A run that is killed at any moment and resumed ends bit for bit like one that never was."""

from __future__ import annotations

import csv
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from same_tree import assert_same_tree

from ncct_cta.common import folders
from ncct_cta.common.folders import locked_folder
from ncct_cta.losses.perceptual import write_features
from ncct_cta.networks.feature_encoder import FeatureEncoder
from ncct_cta.runs.names import BEST, LAST
from ncct_cta.train import builders
from ncct_cta.train.command import main

# Children fork from a server that has loaded everything already, and has no thread of the test's process.
SERVER = multiprocessing.get_context("forkserver")
EPOCHS = 4
TINY = {
    "data::patch_size": "[32, 32]",
    "data::num_workers": "0",
    "model::channels": "[4, 8]",
    "model::num_res_units": "0",
    "train::num_epochs": str(EPOCHS),
    "train::steps_per_epoch": "3",
    "train::batch_size": "4",
    "train::checkpoint_every": "1",
    "train::val_every": "2",
    "train::device": "cpu",
}


def words(cohort: Path, folder: Path, *more: str, **settings: str) -> list[str]:
    given = TINY | {"data::datalist": str(cohort), "train::output_dir": str(folder)}
    given |= {name.replace("__", "::"): value for name, value in settings.items()}
    return ["g_small", *more, *(word for key, value in given.items() for word in (f"--{key}", value))]


def child_main(arguments: Sequence[str], moment: str = "") -> None:
    """Runs in the child: train, and die by SIGKILL at the moment that is asked for."""
    torch.set_num_threads(1)
    if moment:
        MOMENTS[moment]()
    main(arguments)


def start(arguments: Sequence[str], moment: str = "") -> multiprocessing.Process:
    SERVER.set_forkserver_preload(["ncct_cta.train.workflow"])
    process = SERVER.Process(target=child_main, args=(arguments, moment))
    process.start()
    return process


def finish(arguments: Sequence[str], moment: str = "") -> int | None:
    process = start(arguments, moment)
    process.join(timeout=120)
    return process.exitcode


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_the_middle_of_epoch_2() -> None:
    step, taken = torch.optim.AdamW.step, []

    def counting(self, closure=None):
        taken.append(1)
        if len(taken) == 5:
            die()
        return step(self, closure)

    torch.optim.AdamW.step = counting


def die_before_the_first_checkpoint() -> None:
    torch.save = lambda content, file: die()


def die_with_half_a_checkpoint() -> None:
    save = torch.save

    def half_a_save(content, file):
        save(content, file)
        file.truncate(5000)
        die()

    torch.save = half_a_save


def die_at_replacement(number: int) -> None:
    replace, replaced = os.replace, []

    def counting(source, target):
        if str(target).endswith(".pt"):
            replaced.append(target)
            if len(replaced) == number:
                die()
        replace(source, target)

    os.replace = counting


# In this order: the second one leaves the checkpoint of epoch 1, all later ones die in epoch 2, the first to be
# validated, whose checkpoint gets three names.
MOMENTS = {
    "before the first checkpoint": die_before_the_first_checkpoint,
    "in the middle of epoch 2": die_in_the_middle_of_epoch_2,
    "with half a checkpoint written": die_with_half_a_checkpoint,
    "before the 1st name of a checkpoint": lambda: die_at_replacement(1),
    "before the 2nd name of a checkpoint": lambda: die_at_replacement(2),
    "before the 3rd name of a checkpoint": lambda: die_at_replacement(3),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread_in_children():
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    os.environ.pop("OMP_NUM_THREADS") if before is None else os.environ.update(OMP_NUM_THREADS=before)


@pytest.fixture(scope="module")
def uninterrupted(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert finish(words(cohort, folder)) == 0
    return folder


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same_run(folder: Path, reference: Path) -> None:
    """The same files; nets, EMA, optimiser, schedule, counters and metrics equal to the last bit."""
    assert names(folder) == names(reference)
    for path in reference.glob("*.pt"):
        one, other = load(folder / path.name), load(path)
        for checkpoint in (one, other):
            # The paths of the two runs, and generators that nothing draws from once the weights are made.
            checkpoint.pop("settings")
            checkpoint.pop("random")
        assert_same_tree(one, other, path.name)
    assert (folder / "metrics.csv").read_text() == (reference / "metrics.csv").read_text()
    assert load(folder / LAST)["trainer"]["epoch"] == EPOCHS


@pytest.mark.slow
def test_a_run_killed_at_awkward_moments_ends_as_if_it_had_not_been(cohort, uninterrupted, tmp_path):
    arguments = words(cohort, tmp_path / "run", "--resume")
    for moment in MOMENTS:
        assert finish(arguments, moment) == -signal.SIGKILL, moment
        last = tmp_path / "run" / LAST
        assert last.exists() == (moment != "before the first checkpoint"), moment
        assert not last.exists() or load(last)["trainer"]["epoch"] == 1, moment
    assert finish(arguments) == 0
    # Once before the first checkpoint, once after: no later process began anew.
    assert (tmp_path / "run" / "train.log").read_text().count("epoch 1/4 ") == 2
    assert_same_run(tmp_path / "run", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_killed_again_and_again_ends_as_if_it_had_not_been(cohort, uninterrupted, tmp_path, num_workers):
    arguments = words(cohort, tmp_path / "run", "--resume", data__num_workers=str(num_workers))
    delays = random.Random(num_workers)
    killed = 0
    for _ in range(3):
        process = start(arguments)
        time.sleep(delays.uniform(0.3, 1.8))
        process.kill()
        process.join(timeout=60)
        killed += process.exitcode == -signal.SIGKILL
    assert finish(arguments) == 0
    assert killed > 0
    assert_same_run(tmp_path / "run", uninterrupted)


def test_a_run_that_is_not_resumed_moves_the_earlier_one_aside(cohort, tmp_path):
    folder = tmp_path / "run"
    for seed in "012":
        main(words(cohort, folder, train__num_epochs="1", train__val_every="5", train__seed=seed))
    assert names(tmp_path) == ["run", "run.1", "run.2"]
    seeds = [
        load(path / LAST)["settings"]["train"]["seed"] for path in (tmp_path / "run.1", tmp_path / "run.2", folder)
    ]
    assert seeds == [0, 1, 2]


def test_a_folder_that_a_running_training_writes_to_is_left_alone(cohort, tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"
    main(words(cohort, folder, train__num_epochs="1", train__val_every="5"))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    monkeypatch.setattr(folders, "ORPHANS_SECONDS", 0.1)
    for more in ((), ("--resume",)):
        with locked_folder(folder), pytest.raises(SystemExit):
            main(words(cohort, folder, *more, train__num_epochs="2"))
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"error: another process is writing to {folder}; wait until it ends, or set another train.output_dir"
        )
        assert names(tmp_path) == ["run"]
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_resuming_a_complete_run_does_nothing(cohort, tmp_path, capsys):
    folder = tmp_path / "run"
    for resume in ((), ("--resume",)):
        before = {path.name: (path.read_bytes(), path.stat().st_ino) for path in folder.glob("*[!g]") if path.is_file()}
        main(words(cohort, folder, *resume, train__num_epochs="1", train__val_every="1"))
    after = {
        name: ((folder / name).read_bytes(), (folder / name).stat().st_ino) for name in (LAST, BEST, "metrics.csv")
    }
    assert {name: before[name] for name in after} == after
    assert names(tmp_path) == ["run"]
    assert "is complete: 1 epochs" in capsys.readouterr().out


def test_resuming_without_an_earlier_run_starts_one(cohort, tmp_path):
    main(words(cohort, tmp_path / "run", "--resume", train__num_epochs="1", train__val_every="5"))
    assert load(tmp_path / "run" / LAST)["trainer"]["epoch"] == 1


def test_a_run_is_resumed_with_the_learning_rate_and_the_length_that_are_given_now(cohort, tmp_path, capsys):
    common = {"train__val_every": "5", "train__warmup_steps": "0"}
    main(words(cohort, tmp_path / "run", train__num_epochs="1", train__lr="1.0e-3", **common))
    capsys.readouterr()
    main(words(cohort, tmp_path / "run", "--resume", train__num_epochs="2", train__lr="1.0e-4", **common))
    said = "settings that differ from those of epoch 1: train.num_epochs 1 -> 2, train.lr 0.001 -> 0.0001\n"
    assert said in capsys.readouterr().out
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    # 3 steps an epoch: the mean of the cosine's steps 0, 1, 2 of 3, then of 3, 4, 5 of 6
    assert rates == pytest.approx([(1 + 0.75 + 0.25) / 3 * 1e-3, (0.5 + 0.25 + 0.0669873) / 3 * 1e-4], rel=1e-5)


def test_a_run_on_another_device_reads_its_checkpoint_on_the_cpu(cohort, tmp_path, monkeypatch):
    """Random states are taken from nowhere else. Here "cpu:0" is the other device."""
    places, read = {}, torch.load

    def spy(path, **options):
        places[Path(path).name] = options.get("map_location")
        return read(path, **options)

    monkeypatch.setattr(builders, "resolve_device", lambda name: torch.device("cpu:0"))
    monkeypatch.setattr(torch, "load", spy)
    for epochs in "12":
        main(words(cohort, tmp_path / "run", "--resume", train__num_epochs=epochs, train__val_every="5"))
    assert str(places[LAST]) == "cpu"
    assert load(tmp_path / "run" / LAST)["trainer"]["epoch"] == 2


# Every setting that adds something to a training, and R, the lung weight and D at different moments.
ALL_ON = {
    "data__flip": "true",
    "data__vessel_share": "0.5",
    "data__virtual_share": "0.5",
    "model__in_slices": "3",
    "model__head": "gated",
    "model__norm": "batch",
    "loss__scales": "2",
    "loss__lung_weight_epochs": "3",
    "loss__enhancement_weight": "2",
    "loss__body_only": "true",
    "loss__gate_weight": "0.5",
    "loss__perceptual_weight": "0.5",
    "registration__enabled": "true",
    "registration__start_epoch": "2",
    "registration__penalty": "bending",
    "registration__attention": "true",
    "refine__enabled": "true",
    "refine__freeze_G": "false",
    "refine__fusion": "concat",
    "refine__base": "root",
    "refine__hidden_dim": "4",
    "refine__num_blocks": "1",
    "refine__warmup_steps": "4",
    "discriminator__enabled": "true",
    "discriminator__start_epoch": "3",
    "discriminator__mode": "hinge",
    "discriminator__num_scales": "2",
    "discriminator__num_layers": "1",
    "discriminator__hidden_dim": "4",
    "discriminator__steps": "2",
    "discriminator__r1_weight": "1",
    "discriminator__r1_every": "3",
    "discriminator__warmup_steps": "2",
    "train__weight_decay": "0.01",
    "train__amp": "bf16",
    "train__val_every": "1",
    "train__best": "val_vessel_mae_hu",
}
# Nets and terms of which a run that has all of it says something.
TERMS = ("gate", "perceptual", "smoothness", "gan_g", "feat_match", "r1", "gnorm_G", "gnorm_G2", "gnorm_R", "gnorm_D")


def stopped_at_step(number: int, arguments: Sequence[str]) -> None:
    """Train, and stop as by Ctrl-C before the generator's step of this number from the start of this call."""
    step, taken = torch.optim.AdamW.step, []

    def counting(self, closure=None):
        taken.append(1)
        if len(taken) == number:
            raise KeyboardInterrupt
        return step(self, closure)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.optim.AdamW, "step", counting)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    assert ended.value.code == 130


@pytest.mark.slow
def test_with_all_settings_on_an_interrupted_run_ends_like_one_that_was_not(cohort, tmp_path):
    torch.manual_seed(0)
    write_features(tmp_path / "features.pt", FeatureEncoder(2, (4, 4)), (4, 4), (-1000.0, 600.0))
    settings = {**ALL_ON, "loss__perceptual_features": str(tmp_path / "features.pt")}
    main(words(cohort, tmp_path / "whole", **settings))
    with open(tmp_path / "whole" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(rows[-1][name]) for name in TERMS)
    assert not rows[0]["smoothness"]
    assert not rows[1]["gan_g"]
    arguments = words(cohort, tmp_path / "stopped", "--resume", **settings)
    stopped_at_step(5, arguments)  # in epoch 2: R has joined, D hasn't
    stopped_at_step(8, arguments)  # goes on with epoch 2, and ends in epoch 4 with every net
    assert load(tmp_path / "stopped" / LAST)["trainer"]["epoch"] == 3
    main(arguments)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
