"""What each choice of the best checkpoint stands for in a run."""

from __future__ import annotations

from pathlib import Path

from ncct_cta.train.best_epochs import choices_of_best


def test_each_choice_is_named_with_its_epoch_and_what_was_found_there(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val_loss,val_vessel_mae_hu\n1,0.5,90\n2,0.2,120\n3,,\n4,0.3,95\n5,,\n")
    assert list(choices_of_best(path)) == [
        "val_loss epoch 2 (val_loss 0.2, val_vessel_mae_hu 120)",
        "val_vessel_mae_hu epoch 1 (val_loss 0.5, val_vessel_mae_hu 90)",
        "last epoch 5",
    ]


def test_a_run_that_never_validated_has_its_last_epoch(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val_loss,val_vessel_mae_hu\n1,,\n")
    assert list(choices_of_best(path)) == ["last epoch 1"]
