"""The log of a training ends with what came of it."""

from __future__ import annotations

from pathlib import Path


def test_the_log_names_the_best_epoch_its_weights_and_the_next_command(trained_run: Path) -> None:
    log = (trained_run / "train.log").read_text()
    assert "epoch 1 is the best so far: val_loss" in log
    assert "the best epoch is the one with the lowest val_loss" in log
    assert str(trained_run / "checkpoint_best.pt") in log
    assert f"ncct-cta infer --run {trained_run} --input SCAN --output DIR" in log
