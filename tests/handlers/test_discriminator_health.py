"""D's health: a blind and a saturated D are named once, with the fixed point and the remedy; a well one is not."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import ignite.distributed as idist
import pytest
import torch
from ignite.engine import Engine, Events

from ncct_cta.common import keys
from ncct_cta.handlers import DiscriminatorHealthHandler

WINDOW = 10


def reports(
    scores: Iterable[tuple[float, float] | None],
    caplog: pytest.LogCaptureFixture,
    mode: str = "least_squares",
    noise: float = 0.05,
    settling: int = 0,
) -> list[str]:
    """What is said about a run whose steps have these D_real and D_fake; None: a step without D."""
    random = torch.Generator().manual_seed(0)

    def step(engine: Engine, pair: tuple[float, float] | None) -> dict:
        terms = {keys.LOSS: torch.tensor(1.0)}
        if pair is not None:
            real, fake = torch.tensor(pair) + noise * torch.randn(2, generator=random)
            terms |= {keys.D_REAL: real, keys.D_FAKE: fake}
        return {keys.TERMS: terms}

    engine = Engine(step)
    DiscriminatorHealthHandler(mode=mode, window=WINDOW, settling=settling).attach(engine)
    with caplog.at_level(logging.INFO):
        engine.run(list(scores), max_epochs=1)
    return [record.getMessage() for record in caplog.records if "discriminator" in record.getMessage()]


def test_a_blind_discriminator_sits_at_a_half_and_is_told_to_learn_faster(caplog):
    (said,) = reports([(0.51, 0.5)] * 5 * WINDOW, caplog)
    assert "the discriminator is blind" in said
    assert "near 1/2" in said
    assert "Raise discriminator.lr" in said
    assert "3/4" not in said


def test_a_leak_sits_at_three_quarters_and_is_told_to_freeze_d(caplog):
    (said,) = reports([(0.749, 0.749)] * 5 * WINDOW, caplog)
    assert "near 3/4" in said
    assert "gradient leaks" in said
    assert "Freeze D" in said
    assert "near 1/2" not in said


def test_the_users_own_log_is_called_a_leak_from_the_second_epoch_on(caplog):
    (said,) = reports([(0.675, 0.675)] * WINDOW + [(0.749, 0.749)] * WINDOW, caplog)
    assert "gradient leaks" in said


@pytest.mark.parametrize("score", [-0.3, 0.05, 0.36, 0.9])
def test_one_score_far_from_both_fixed_points_is_a_discriminator_that_does_not_learn(caplog, score):
    (said,) = reports([(score, score)] * 2 * WINDOW, caplog, noise=0.0)
    assert "it doesn't learn" in said
    assert "discriminator.lr" in said
    assert f"D_real {score:.3f}" in said
    assert "is blind:" not in said
    assert "leak" not in said


@pytest.mark.parametrize("score", [0.4, 0.6])
def test_one_score_around_a_half_is_blind(caplog, score):
    (said,) = reports([(score, score)] * 2 * WINDOW, caplog, noise=0.0)
    assert "is blind: it gives real and synthetic CTAs one score near 1/2" in said


def test_a_saturated_discriminator_is_told_to_learn_slower(caplog):
    (said,) = reports([(0.98, 0.02)] * 5 * WINDOW, caplog, noise=0.01)
    assert "saturated" in said
    assert "Lower discriminator.lr" in said


def test_the_figures_stand_in_the_report(caplog):
    (said,) = reports([(0.75, 0.74)] * WINDOW, caplog, noise=0.0)
    assert "D_real 0.750, D_fake 0.740 over the last 10 steps" in said
    assert said.startswith(f"iteration {WINDOW}: ")


@pytest.mark.parametrize("pair", [(0.64, 0.31), (0.8, 0.2), (0.6, 0.4), (0.9, 0.7)])
def test_a_healthy_discriminator_is_left_alone(caplog, pair):
    assert reports([pair] * 5 * WINDOW, caplog) == []


def test_what_changes_is_reported_too_and_each_state_once(caplog):
    said = reports([(0.5, 0.5)] * 2 * WINDOW + [(0.99, 0.01)] * 2 * WINDOW + [(0.5, 0.5)] * 2 * WINDOW, caplog, noise=0)
    assert ["blind" in text for text in said] == [True, False]
    assert ["saturated" in text for text in said] == [False, True]


def test_of_several_processes_the_first_reports(caplog, monkeypatch):
    monkeypatch.setattr(idist, "get_rank", lambda: 1)
    assert reports([(0.5, 0.5)] * 2 * WINDOW, caplog) == []


def test_a_short_run_is_not_judged(caplog):
    assert reports([(0.5, 0.5)] * (WINDOW - 1), caplog) == []


def test_a_discriminator_that_starts_blind_and_learns_is_healthy(caplog):
    scores = [(0.45, 0.45)] * 2 * WINDOW + [(0.64, 0.31)] * 2 * WINDOW
    assert reports(scores, caplog, settling=2 * WINDOW) == []


def test_settling_ends(caplog):
    (said,) = reports([(0.5, 0.5)] * 4 * WINDOW, caplog, settling=2 * WINDOW)
    assert said.startswith(f"iteration {3 * WINDOW}: ")


def test_the_warm_up_without_d_does_not_count(caplog):
    (said,) = reports([None] * 3 * WINDOW + [(0.5, 0.5)] * 2 * WINDOW, caplog)
    assert said.startswith(f"iteration {4 * WINDOW}: ")


def test_a_run_without_d_hears_nothing(caplog):
    assert reports([None] * 3 * WINDOW, caplog) == []


@pytest.mark.parametrize("score", [-1.0, 0.0, 0.5, 0.75, 2.0])
def test_hinge_has_no_fixed_point_so_a_leak_is_never_named(caplog, score):
    (said,) = reports([(score, score)] * 3 * WINDOW, caplog, mode="hinge")
    assert "blind" in said
    assert "leaks" not in said
    assert "3/4" not in said
    assert "1/2" not in said


def test_hinge_is_not_called_saturated(caplog):
    """Its scores of a working D lie beyond 1 and -1."""
    assert reports([(1.2, -1.3)] * 3 * WINDOW, caplog, mode="hinge") == []


def test_it_looks_after_each_step():
    engine = Engine(lambda engine, batch: None)
    handler = DiscriminatorHealthHandler()
    handler.attach(engine)
    assert engine.has_event_handler(handler, Events.ITERATION_COMPLETED)
