"""The functions that the bundle's YAML names: each builds one part from plain values."""

from __future__ import annotations

import logging
import tempfile
from typing import Any

import torch
from monai.optimizers.lr_scheduler import WarmupCosineSchedule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, Dataset, Sampler

from . import config
from .engines import InferenceEngine
from .engines.inference import FAILURE, PATH, SKIPPED
from .errors import InputError, one_line_errors
from .precision import check_amp, resolve_device
from .trained import TrainedModel

logger = logging.getLogger(__name__)


@one_line_errors()
def section(section: str, **values: Any) -> config.Section:
    """Build a section of the settings from the bundle's YAML; see ``config.py``."""
    return config.section_types()[section].parse(values)


@one_line_errors()
def device(name: str, amp: str) -> torch.device:
    """The device that a setting names, checked together with the mixed precision."""
    found = resolve_device(name)
    check_amp(amp, found)
    return found


def loader(
    dataset: Dataset, device: torch.device, batch_size: int = 1, sampler: Sampler | None = None, num_workers: int = 0
) -> DataLoader:
    """A PyTorch loader; its workers stay between epochs, its batches are pinned for a GPU."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )


def lr_scheduler(optimizer: Optimizer, kind: str, warmup_steps: int, total_steps: int) -> LRScheduler:
    """Linear warm-up, then cosine to zero (Loshchilov & Hutter, ICLR 2017) or constant; one step an iteration."""
    warmup_steps = min(warmup_steps, total_steps // 2)  # a run shorter than the warm-up would never learn
    if kind == "cosine":
        return WarmupCosineSchedule(optimizer, warmup_steps=warmup_steps, t_total=total_steps)
    return LambdaLR(optimizer, lambda step: min(1.0, step / max(1, warmup_steps)))


@one_line_errors()
def trained_model(**arguments: Any) -> TrainedModel:
    """What an inference runs with; see ``TrainedModel``."""
    return TrainedModel(**arguments)


@one_line_errors()
def run_inference(engine: InferenceEngine, model: TrainedModel) -> None:
    """Run the engine over all cases and say what came of it.

    Args:
        engine: what synthesises and writes.
        model: where its network comes from.

    Raises:
        InputError: if the output folder can't be written, or with the summary of the cases that failed.
    """
    if model.untrained:
        raise InputError("there are no trained weights; give a run's folder (run_dir) or a checkpoint")
    try:
        engine.output_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=engine.output_dir).close()
    except OSError as error:
        raise InputError(
            f"the output folder {engine.output_dir} can't be written ({error.strerror}); choose another --output"
        ) from error
    engine.run()
    failures = [output[FAILURE] for output in engine.outputs if output[FAILURE]]
    skipped = [output[PATH].name for output in engine.outputs if output[SKIPPED]]
    written = len(engine.outputs) - len(failures) - len(skipped)
    logger.info("%d written to %s, %d failed", written, engine.output_dir, len(failures))
    if skipped:
        logger.warning(
            "%d were there already and were left (--overwrite replaces them): %s", len(skipped), ", ".join(skipped)
        )
    if len(engine.outputs) == 1 and failures:
        raise InputError(failures[0])
    if failures:
        raise InputError(f"{len(failures)} of {len(engine.outputs)} cases failed: " + "; ".join(failures))
