"""Checkpoints: everything needed to resume a run bit for bit, or to use it."""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ..common.errors import InputError, reason_of
from ..common.files import to_disk
from ..common.keys import VAL_LOSS
from ..runs.checkpoints import require_finite
from ..runs.names import BEST, BEST_VAL_LOSS, LAST, PROGRESS, RANDOM, SETTINGS

logger = logging.getLogger(__name__)

NEWEST = "last"  # the choice of the best checkpoint that looks at no metric


class CheckpointHandler:
    """Write ``checkpoint_last.pt`` after every epoch, and keep it as ``_best`` and ``_epochNNNN`` when due.

    A checkpoint is written once, under a temporary name, and renamed; the others are hard links to it. A run that is
    killed at any moment leaves only complete checkpoints.

    Args:
        output_dir: the run's folder.
        to_save: objects with ``state_dict`` and ``load_state_dict``, by their name in the checkpoint; None is left
            out.
        settings: plain data from which the network can be rebuilt; saved in the checkpoint.
        checkpoint_every: epochs between kept checkpoints.
        best: the metric whose lowest value chooses the best checkpoint, or ``last``: it is then the last one.
    """

    def __init__(
        self,
        output_dir: str | Path,
        to_save: Mapping[str, Any],
        *,
        settings: Mapping[str, Any] | None = None,
        checkpoint_every: int = 10,
        best: str = VAL_LOSS,
    ) -> None:
        self.folder = Path(output_dir)
        self.to_save = {name: item for name, item in to_save.items() if item is not None}
        self.settings = dict(settings or {})
        self.checkpoint_every = checkpoint_every
        self.best = best
        self.best_value = float("inf")
        self.saved_epoch = 0  # the one that a resumed run goes on after

    def attach(self, engine: Engine) -> None:
        """Save after every epoch; attach it after validation, whose metrics select the best checkpoint."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save the epoch that has just ended.

        Raises:
            InputError: if weights aren't finite, or the disk is full; the checkpoint of the epoch before stays.
        """
        value = float(engine.state.metrics.get(self.best, float("nan")))
        is_best = value < self.best_value or self.best == NEWEST
        if value < self.best_value:
            self.best_value = value
        checkpoint = {name: item.state_dict() for name, item in self.to_save.items()}
        for name, item in self.to_save.items():
            if isinstance(item, nn.Module):
                require_finite(checkpoint[name], f"the {name} after epoch {engine.state.epoch}")
        checkpoint[PROGRESS] = {"epoch": engine.state.epoch, "iteration": engine.state.iteration}
        checkpoint[RANDOM] = random_state()
        checkpoint[BEST_VAL_LOSS] = self.best_value
        checkpoint[SETTINGS] = self.settings
        kept = [BEST] if is_best else []
        if engine.state.epoch % self.checkpoint_every == 0:
            kept.append(f"checkpoint_epoch{engine.state.epoch:04d}.pt")
        try:
            self._write(checkpoint, kept)
        except (OSError, RuntimeError) as error:
            # PyTorch's writer raises an error of its own, behind which the system's lies.
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError):
                raise
            raise InputError(
                f"{self.folder}: the checkpoint of epoch {engine.state.epoch} can't be written ({reason_of(cause)}); "
                "free some space and go on with --resume"
            ) from error
        self.saved_epoch = engine.state.epoch
        if is_best and self.best != NEWEST:
            logger.info("epoch %d is the best so far: %s %.4g", engine.state.epoch, self.best, value)

    def _write(self, checkpoint: Mapping[str, Any], kept: Sequence[str]) -> None:
        # Not Ignite's DiskSaver: a killed run would leave a new temporary file each time.
        with self._beside(LAST) as beside:
            with open(beside, "wb") as file:  # by its path PyTorch wouldn't say why it can't be written
                torch.save(checkpoint, file)
            to_disk(beside)
            for name in kept:
                with self._beside(name) as other:
                    self._link(beside, other)
                    os.replace(other, self.folder / name)
            # This comes last: a run killed before this point repeats the epoch and rewrites all of these names.
            os.replace(beside, self.folder / LAST)
        to_disk(self.folder)

    @contextmanager
    def _beside(self, name: str) -> Iterator[Path]:
        """A hidden name for a file that is then renamed; whatever happens, nothing stays there."""
        beside = self.folder / f".{name}.tmp"
        beside.unlink(missing_ok=True)  # a file left by a killed run may share its bytes with a kept checkpoint
        try:
            yield beside
        finally:
            beside.unlink(missing_ok=True)

    def _link(self, checkpoint: Path, other: Path) -> None:
        try:
            os.link(checkpoint, other)
        except OSError:  # a file system without hard links
            shutil.copyfile(checkpoint, other)
            to_disk(other)

    def restore(self, engine: Engine, checkpoint: Mapping[str, Any]) -> None:
        """Restore the state saved in ``checkpoint``; the engine continues with the next epoch.

        Optimiser and schedule settings are kept as they are now: learning rates and lengths may have changed.

        Raises:
            InputError: if the checkpoint is of a run with other networks, or its weights aren't finite.
        """
        for name, item in self.to_save.items():
            try:
                if isinstance(item, nn.Module):
                    require_finite(checkpoint[name], self.folder / LAST)
                load_progress(item, checkpoint[name])
            except InputError:
                raise
            except Exception as error:  # whatever a stranger's or a damaged entry makes PyTorch raise
                reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
                raise InputError(
                    f"{self.folder / LAST}: {name} doesn't fit the settings ({reason}); resume with the run's own "
                    "settings, or start a new one from its weights with train.pretrained_G and train.pretrained_G2"
                ) from error
        try:
            engine.state.epoch = self.saved_epoch = int(checkpoint[PROGRESS]["epoch"])
            engine.state.iteration = int(checkpoint[PROGRESS]["iteration"])
            recorded = checkpoint.get(SETTINGS, {}).get("train", {}).get("best", VAL_LOSS)
            # The lowest value of another metric says nothing about this one's.
            self.best_value = float(checkpoint[BEST_VAL_LOSS]) if recorded == self.best else float("inf")
            set_random_state(checkpoint[RANDOM])
        except Exception as error:
            raise InputError(
                f"{self.folder / LAST}: doesn't say where the run was ({type(error).__name__}); take another checkpoint"
            ) from error


def load_progress(item: Any, state: Mapping[str, Any]) -> None:
    """Load a saved state; for an optimiser only the moments, for a schedule only the step count."""
    if isinstance(item, Optimizer):
        own = [{key: value for key, value in group.items() if key != "params"} for group in item.param_groups]
        item.load_state_dict(dict(state))
        for group, settings in zip(item.param_groups, own, strict=True):
            group.update(settings)
    elif isinstance(item, LambdaLR):
        steps = state["last_epoch"]
        item.last_epoch, item._step_count = steps, state["_step_count"]
        item._last_lr = [lr * factor(steps) for lr, factor in zip(item.base_lrs, item.lr_lambdas, strict=True)]
        for group, lr in zip(item.optimizer.param_groups, item._last_lr, strict=True):
            group["lr"] = lr
    else:
        item.load_state_dict(state)


def random_state() -> dict[str, Any]:
    """The state of every global random generator, as plain data that ``weights_only`` loading takes."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": [name, [int(key) for key in keys], position, has_gauss, cached],
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore the state returned by ``random_state``."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    if "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
