"""The one spelling of the files in a run's folder and of the entries of a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from ..common.errors import InputError

CONFIG = "config.yaml"
LOG = "train.log"
LAST = "checkpoint_last.pt"
BEST = "checkpoint_best.pt"
BEST_VAL_LOSS = "best_val_loss"
PROGRESS = "trainer"
RANDOM = "random"
SETTINGS = "settings"


def require_checkpoint(path: str | Path) -> None:
    """Refuse a checkpoint that isn't there.

    Raises:
        InputError: if there is no such file, or it is a folder.
    """
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder, expected a checkpoint; of a run give {Path(path) / BEST}")
    if not os.path.isfile(path):
        raise InputError(f"{path}: there is no such checkpoint; check the path")
