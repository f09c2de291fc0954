"""The one spelling of the files in a run's folder and of the entries of a checkpoint."""

from __future__ import annotations

CONFIG = "config.yaml"
LOG = "train.log"
LAST = "checkpoint_last.pt"
BEST = "checkpoint_best.pt"
BEST_VAL_LOSS = "best_val_loss"
PROGRESS = "trainer"
RANDOM = "random"
SETTINGS = "settings"
