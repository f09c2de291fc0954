"""The one spelling of the files in a run's folder and of the entries of a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

from ..common.command_line import require_path
from ..common.errors import InputError

CONFIG = "config.yaml"
LOG = "train.log"
METRICS = "metrics.csv"
PREVIEWS = "previews"
TENSORBOARD = "tensorboard"
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
    _require_file(path, "checkpoint", f"of a run give {Path(path) / BEST}")


def require_model(path: str | Path) -> None:
    """Refuse a packed model that isn't there.

    Raises:
        InputError: if there is no such file, or it is a folder.
    """
    _require_file(path, "packed model", "a run's folder is given by --run")


def _require_file(path: str | Path, kind: str, of_a_folder: str) -> None:
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder, expected a {kind}; {of_a_folder}")
    if not os.path.isfile(path):
        raise InputError(f"{path}: there is no such {kind}; check the path")


def checkpoint_of(run: str, checkpoint: str = "") -> Path | None:
    """Return the checkpoint to use: the one given, or else the run's best, or its last; None where neither is given.

    Raises:
        InputError: if the run isn't there, or holds no checkpoint.
    """
    if checkpoint or not run:
        return Path(checkpoint) if checkpoint else None
    require_path(run, "run folder")
    for name in (BEST, LAST):
        if os.path.isfile(os.path.join(run, name)):
            return Path(run) / name
    raise InputError(f"{run}: there is neither {BEST} nor {LAST} in it; train first, or give --checkpoint")
