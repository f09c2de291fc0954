"""Checkpoints: whole or not at all, plain data, the best one with the weights that were validated."""

from __future__ import annotations

import os
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Events
from tiny_engine import make_trainer, same_weights, tiny_batch, tiny_cascade, weights_of

from ncct_cta.common.errors import InputError
from ncct_cta.common.keys import EMA, NETWORK, VAL_LOSS, VAL_VESSEL_MAE_HU
from ncct_cta.handlers import CheckpointHandler
from ncct_cta.handlers.checkpoint import load_progress, random_state, set_random_state
from ncct_cta.runs.names import BEST, BEST_VAL_LOSS, LAST, PROGRESS, RANDOM, SETTINGS
from ncct_cta.train.builders import build_schedule

SETTINGS_PLAIN = {"model": {"channels": [4, 8], "residual_output": True}, "data": {"spacing": None}}


def load(path: Path) -> dict:
    return torch.load(path, weights_only=True)


class Validations:
    """Gives the trainer the val_loss of each epoch, and keeps the weights that it is told to be of."""

    def __init__(self, network: torch.nn.Module, losses: list[float]) -> None:
        self.network = network
        self.losses = losses
        self.weights: list[dict[str, torch.Tensor]] = []

    def attach(self, engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine) -> None:
        engine.state.metrics[VAL_LOSS] = self.losses[engine.state.epoch - 1]
        engine.state.metrics[VAL_VESSEL_MAE_HU] = -self.losses[engine.state.epoch - 1]
        self.weights.append(weights_of(self.network))


def run(folder: Path, losses: list[float], *, every: int = 10, resume_from: Path | None = None, best: str = VAL_LOSS):
    """Train an epoch for each val_loss; give the handlers that saved and validated."""
    network = tiny_cascade()
    trainer = make_trainer(network, [tiny_batch()], epochs=len(losses))
    validations = Validations(network, losses)
    saved = {"network": network, "ema": network, "optimizer": trainer.optimizer}
    handler = CheckpointHandler(
        folder, saved, settings={**SETTINGS_PLAIN, "train": {"best": best}}, checkpoint_every=every, best=best
    )
    if resume_from is not None:
        handler.restore(trainer, load(resume_from))
    validations.attach(trainer)
    handler.attach(trainer)
    trainer.run()
    return handler, validations


def test_the_lowest_val_loss_is_kept_with_the_weights_that_were_validated(tmp_path):
    _, validations = run(tmp_path, [0.5, 0.2, 0.4, 0.3])
    best, last = load(tmp_path / BEST), load(tmp_path / LAST)
    assert best[PROGRESS]["epoch"] == 2
    assert best[BEST_VAL_LOSS] == 0.2
    assert same_weights(best[EMA], validations.weights[1])
    assert last[PROGRESS] == {"epoch": 4, "iteration": 4}
    assert same_weights(last[EMA], validations.weights[3])


def test_every_nth_epoch_is_kept(tmp_path):
    _, validations = run(tmp_path, [0.5, 0.4, 0.3, 0.2, 0.1], every=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        BEST,
        "checkpoint_epoch0002.pt",
        "checkpoint_epoch0004.pt",
        LAST,
    ]
    assert same_weights(load(tmp_path / "checkpoint_epoch0002.pt")[NETWORK], validations.weights[1])


def test_a_checkpoint_is_plain_data_with_everything_in_it(tmp_path):
    handler, _ = run(tmp_path, [0.5])
    checkpoint = load(tmp_path / LAST)  # weights_only
    assert checkpoint.keys() == {"network", "ema", "optimizer", PROGRESS, RANDOM, BEST_VAL_LOSS, SETTINGS}
    assert checkpoint[SETTINGS] == {**SETTINGS_PLAIN, "train": {"best": VAL_LOSS}}
    assert checkpoint["optimizer"]["state"], "the optimiser's moments are missing"
    assert handler.best_value == 0.5


def test_a_nan_val_loss_is_never_the_best(tmp_path):
    run(tmp_path, [float("nan"), 0.7, float("nan")])
    assert load(tmp_path / BEST)[PROGRESS]["epoch"] == 2


@pytest.mark.parametrize(("best", "epoch"), [(VAL_LOSS, 2), (VAL_VESSEL_MAE_HU, 3), ("last", 4)])
def test_the_best_is_chosen_by_what_was_asked_for(tmp_path, best, epoch):
    run(tmp_path, [0.5, 0.2, 0.7, 0.3], best=best)
    assert load(tmp_path / BEST)[PROGRESS]["epoch"] == epoch


def test_the_lowest_value_of_another_metric_is_not_compared_with(tmp_path):
    run(tmp_path, [0.5, 0.2], best=VAL_VESSEL_MAE_HU)  # the lowest was -0.5
    run(tmp_path, [0.5, 0.2, 0.4], best=VAL_LOSS, resume_from=tmp_path / LAST)
    assert load(tmp_path / BEST)[PROGRESS]["epoch"] == 3


def test_a_resumed_run_remembers_what_was_best(tmp_path):
    run(tmp_path, [0.5, 0.2])
    run(tmp_path, [0.5, 0.2, 0.4], resume_from=tmp_path / LAST)
    assert load(tmp_path / LAST)[PROGRESS]["epoch"] == 3
    assert load(tmp_path / BEST)[PROGRESS]["epoch"] == 2


def test_restoring_brings_weights_and_moments_back(tmp_path):
    handler, _ = run(tmp_path, [0.5, 0.4])
    other = tiny_cascade(seed=5)
    trainer = make_trainer(other, [tiny_batch()])
    restored = CheckpointHandler(tmp_path, {"network": other, "optimizer": trainer.optimizer})
    restored.restore(trainer, load(tmp_path / LAST))
    assert same_weights(weights_of(other), weights_of(handler.to_save["network"]))
    moments = trainer.optimizer.state_dict()["state"]
    for index, state in handler.to_save["optimizer"].state_dict()["state"].items():
        assert all(torch.equal(state[name], moments[index][name]) for name in state)
    assert (trainer.state.epoch, trainer.state.iteration) == (2, 2)


def scheduled(kind: str, *, lr: float, steps: int, weight_decay: float = 0.0):
    """An optimiser and its schedule over so many steps."""
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=lr, weight_decay=weight_decay)
    return optimiser, build_schedule(optimiser, kind, 2, steps)


@pytest.mark.parametrize("kind", ["cosine", "constant"])
@pytest.mark.parametrize("steps", [4, 10, 40])
def test_a_restored_schedule_is_that_of_the_settings_at_the_step_of_the_checkpoint(kind, steps):
    saved_optimiser, saved = scheduled("cosine", lr=0.5, steps=10)
    resumed_optimiser, resumed = scheduled(kind, lr=0.125, steps=steps, weight_decay=0.25)
    whole_optimiser, whole = scheduled(kind, lr=0.125, steps=steps)
    for schedule in [saved] * 6 + [whole] * 6:
        schedule.optimizer.step()
        schedule.step()
    load_progress(resumed_optimiser, saved_optimiser.state_dict())
    load_progress(resumed, saved.state_dict())
    for _ in range(4):
        (group,), (expected,) = resumed_optimiser.param_groups, whole_optimiser.param_groups
        assert (group["lr"], group["initial_lr"], group["weight_decay"]) == (expected["lr"], 0.125, 0.25)
        for schedule in (resumed, whole):
            schedule.optimizer.step()
            schedule.step()
    assert resumed.state_dict() == whole.state_dict()


def test_an_optimiser_of_other_nets_is_not_restored():
    (one, _), other = scheduled("cosine", lr=0.5, steps=10), torch.optim.AdamW(tiny_cascade().parameters())
    with pytest.raises(ValueError, match="parameter group"):
        load_progress(one, other.state_dict())


def test_a_write_that_fails_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    run(tmp_path, [0.5])
    before = (tmp_path / LAST).read_bytes()

    def half_a_save(content, file):
        file.write(b"PK\x03\x04")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", half_a_save)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, [0.5])
    assert (tmp_path / LAST).read_bytes() == before
    run(tmp_path, [0.5, 0.4], resume_from=tmp_path / LAST)
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST, LAST]  # and no leftover


def test_a_file_system_without_links_gets_copies(tmp_path, monkeypatch):
    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    run(tmp_path, [0.2, 0.5])
    assert load(tmp_path / BEST)[PROGRESS]["epoch"] == 1
    assert load(tmp_path / LAST)[PROGRESS]["epoch"] == 2


def test_parts_that_a_run_lacks_are_left_out(tmp_path):
    handler = CheckpointHandler(tmp_path, {"network": tiny_cascade(), "discriminator": None})
    handler(SimpleNamespace(state=SimpleNamespace(metrics={}, epoch=1, iteration=1)))
    assert "discriminator" not in load(tmp_path / LAST)


def test_every_random_generator_goes_on_where_it_was(tmp_path):
    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), np.random.randn(1).tolist(), random.random()

    random.gauss(0, 1)  # leaves a spare number in the state
    np.random.randn(1)
    torch.save(random_state(), tmp_path / "random.pt")
    expected = draw()
    draw()
    set_random_state(load(tmp_path / "random.pt"))
    assert draw() == expected


def test_weights_that_are_not_finite_are_never_saved_over_good_ones(tmp_path):
    _, validations = run(tmp_path, [3.0])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    network = tiny_cascade()
    next(network.parameters()).data[0] = float("nan")
    trainer = make_trainer(tiny_cascade(), [tiny_batch()])
    CheckpointHandler(tmp_path, {"network": network}).attach(trainer)
    with pytest.raises(InputError, match=r"the network after epoch 1: .* holds values that aren't finite"):
        trainer.run()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert same_weights(load(tmp_path / LAST)["network"], validations.weights[-1])


def test_a_checkpoint_whose_weights_are_not_finite_is_not_resumed(tmp_path):
    run(tmp_path, [3.0])
    content = load(tmp_path / LAST)
    next(iter(content["ema"].values()))[:] = float("inf")
    torch.save(content, tmp_path / LAST)
    with pytest.raises(InputError, match="take an earlier checkpoint"):
        run(tmp_path, [3.0, 2.0], resume_from=tmp_path / LAST)


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_full_disk_is_named_and_leaves_the_checkpoint_before_it(tmp_path):
    import resource

    run(tmp_path, [0.5])
    before = (tmp_path / LAST).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(InputError, match=r"checkpoint of epoch 1 can't be written \(File too large\); free some"):
            run(tmp_path, [0.4])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == [BEST, LAST]
    assert (tmp_path / LAST).read_bytes() == before


@pytest.mark.parametrize(
    ("entry", "odd"),
    [
        ("optimizer", []),
        ("network", [1]),
        ("optimizer", {"state": 3}),
        (PROGRESS, None),
        (PROGRESS, {"epoch": "x"}),
        (RANDOM, {"torch": 1}),
    ],
)
def test_an_odd_entry_is_one_line_when_a_run_is_resumed(tmp_path, entry, odd):
    run(tmp_path, [3.0])
    torch.save(load(tmp_path / LAST) | {entry: odd}, tmp_path / LAST)
    with pytest.raises(InputError, match=r"doesn't fit the settings|doesn't say where the run was"):
        run(tmp_path, [3.0, 2.0], resume_from=tmp_path / LAST)
