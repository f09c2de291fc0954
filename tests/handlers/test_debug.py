"""``--debug``: shapes, ranges and times of the first steps of an epoch, and nothing else changes."""

from __future__ import annotations

import logging

from tiny_engine import make_trainer, same_weights, tiny_batch, tiny_cascade, weights_of

from ncct_cta.handlers import DebugHandler


def run(caplog, handler: DebugHandler) -> tuple[list[str], dict]:
    caplog.clear()
    network = tiny_cascade()
    with caplog.at_level(logging.DEBUG, "ncct_cta"):
        make_trainer(network, [tiny_batch(0), tiny_batch(1), tiny_batch(2)], epochs=2, handlers=[handler]).run()
    return [r.getMessage() for r in caplog.records if r.name == "ncct_cta.handlers.debug"], weights_of(network)


def test_shapes_ranges_times_and_memory_are_logged(caplog):
    lines, _ = run(caplog, DebugHandler(steps=2))
    steps = [line for line in lines if line.startswith("iteration")]
    assert [line.split(":")[0] for line in steps] == [f"iteration {n}" for n in (1, 2, 4, 5)]
    assert all("loading" in line and "step" in line and "MiB" in line for line in steps)
    ncct = tiny_batch(0)["ncct"]
    expected = f"(2, 1, 16, 16) float32, {float(ncct.min()):.4g} to {float(ncct.max()):.4g}, mean"
    assert any(line.strip().startswith(f"ncct: {expected}") for line in lines)
    for name in ("cta", "lung", "coarse", "intermediate", "refined"):
        assert any(line.strip().startswith(f"{name}: (2, 1, 16, 16)") for line in lines)
    assert any("loss" in line and line.strip().startswith("terms:") for line in lines)


def test_switched_off_it_says_nothing_and_switched_on_it_changes_nothing(caplog):
    lines, weights = run(caplog, DebugHandler(enabled=False))
    assert lines == []
    lines, watched = run(caplog, DebugHandler())
    assert lines
    assert same_weights(weights, watched)
