"""What ``monai.bundle`` runs: the parts that the bundle's YAML names, and the workflow that merges presets into it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.optimizers.lr_scheduler import WarmupCosineSchedule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, Dataset, Sampler

from . import config
from .data.datasets import PatchDataset
from .engines import SynthesisTrainer
from .errors import InputError, one_line_errors
from .handlers import CheckpointHandler
from .handlers.checkpoint import LAST
from .loading import load_checkpoint
from .paths import bundle_config, find_config
from .precision import check_amp, resolve_device

logger = logging.getLogger(__name__)

# MONAI's own arguments of a workflow; everything else that is given must be a setting.
_PLACES = ("bundle_root", "dataset_dir")


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


class TrainingRun:
    """A training from folder to finish: the ``train`` section of the bundle's YAML becomes this.

    Args:
        sections: the other sections of the settings.
        wiring: the YAML whose sections the settings fill: it becomes the run's ``config.yaml``.
        dataset: the training patches.
        trainer: the engine.
        checkpoints: the handler that saves and restores.
        parts: MONAI's names for further parts (dataloader, inferer, handlers): held, not used.
        settings: the settings of ``TrainConfig``.
    """

    @one_line_errors()
    def __init__(
        self,
        *,
        sections: Sequence[config.Section],
        wiring: str,
        dataset: PatchDataset,
        trainer: SynthesisTrainer,
        **settings: Any,
    ) -> None:
        parts = ("dataloader", "inferer", "handlers")
        plain = {key: value for key, value in settings.items() if key not in parts}
        self.settings = config.Settings(
            train=config.TrainConfig.parse(plain), **{part.section_name(): part for part in sections}
        )
        problems = config.check_combinations(self.settings.data, self.settings.model)
        if problems:
            raise InputError("; ".join(problems))
        self.wiring = wiring
        self.dataset = dataset
        self.trainer = trainer
        self.checkpoints = next(h for h in settings["handlers"] if isinstance(h, CheckpointHandler))
        self.folder = Path(self.settings.train.output_dir)

    @one_line_errors()
    def run(self) -> None:
        """Prepare the folder and the data, go on from the last checkpoint if wanted, train."""
        self._prepare_folder()
        self.dataset.prepare()
        self._record()
        if self.settings.train.resume and (self.folder / LAST).is_file():
            self.checkpoints.restore(self.trainer, load_checkpoint(self.folder / LAST, self.trainer.state.device))
            logger.info("going on from %s, epoch %d", self.folder / LAST, self.trainer.state.epoch)
        self.checkpoints.settings = self.settings.as_plain()
        if self.trainer.state.epoch >= self.trainer.state.max_epochs:
            logger.info("the run in %s is complete: %d epochs", self.folder, self.trainer.state.epoch)
            return
        self.trainer.run()

    def _prepare_folder(self) -> None:
        """Make the run's folder and its log file; an earlier run that isn't resumed is moved aside, never lost."""
        moved = None
        try:
            if (self.folder / LAST).exists() and not self.settings.train.resume:
                moved = next(p for n in range(1, 10**6) if not (p := Path(f"{self.folder}.{n}")).exists())
                self.folder.rename(moved)
            self.folder.mkdir(parents=True, exist_ok=True)
            log = logging.FileHandler(self.folder / "train.log")
        except OSError as error:
            raise InputError(
                f"the output folder {self.folder} can't be written ({error.strerror}); set train.output_dir to one that can"
            ) from error
        log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(log)
        if self.settings.train.debug:
            logging.getLogger("ncct_cta").setLevel(logging.DEBUG)
        if moved is not None:
            logger.warning("%s held an earlier run, which is now in %s", self.folder, moved)

    def _record(self) -> None:
        """Write ``config.yaml``, which alone starts this run again, and what MONAI's tools look for beside it."""
        recorded = ConfigParser.load_config_file(self.wiring)
        plain = self.settings.as_plain()
        plain["data"]["datalist"] = os.path.abspath(plain["data"]["datalist"])
        plain["train"] |= {"output_dir": os.path.abspath(self.folder), "resume": False}
        for name, values in plain.items():
            recorded[name] |= values
        beside = self.folder / ".config.yaml.tmp"
        beside.write_text("# python -m monai.bundle run training --config_file <this file>\n" + dump_yaml(recorded))
        beside.replace(self.folder / "config.yaml")
        for name in ("metadata.json", "logging.conf"):
            shutil.copyfile(bundle_config(name), self.folder / name)


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Plain data as YAML, in the given order."""
    return yaml.safe_dump(dict(content), sort_keys=False, width=120, allow_unicode=True)


class SynthesisWorkflow(ConfigWorkflow):
    """MONAI's workflow with settings merged key by key and checked before anything is built.

    A preset names it (``workflow_name: ncct_cta.workflow.SynthesisWorkflow``), because MONAI's own workflow lets a
    section of the preset replace the bundle's whole section, and takes unknown keys silently.

    Args:
        config_file: the bundle's YAML, or several; the shipped one of that name if there is none at that path.
        overrides: sections (``{"train": {"lr": 1.0e-4}}``), single settings (``train::lr``), and what MONAI's
            ``ConfigWorkflow`` takes.
    """

    @one_line_errors()
    def __init__(self, config_file: str | Sequence[str] = "train.yaml", **overrides: Any) -> None:
        files = [find_config(file) for file in ([config_file] if isinstance(config_file, str) else config_file)]
        own = {key: overrides.pop(key) for key in list(overrides) if key in _CONFIG_WORKFLOW_ARGUMENTS}
        own.setdefault("run_id", "training")
        flat = flatten(overrides)
        check_overrides(ConfigParser.load_config_files(files), flat)
        super().__init__(config_file=files if len(files) > 1 else files[0], **own)
        self.parser.update(flat)


def check_overrides(bundle: Mapping[str, Any], flat: Mapping[str, Any]) -> None:
    """Check settings together with those that the bundle's YAML gives.

    Args:
        bundle: the YAML's content.
        flat: settings as ``section::key``.

    Raises:
        InputError: one line with every problem.
    """
    sections: dict[str, Any] = {}
    for name, kind in config.section_types().items():
        known = kind.__dataclass_fields__
        sections[name] = {key: value for key, value in bundle[name].items() if key in known}
    for key, value in flat.items():
        name, _, inner = key.partition("::")
        if name not in _PLACES:
            sections.setdefault(name, {})[inner] = value
    config.Settings.parse(sections)


_CONFIG_WORKFLOW_ARGUMENTS = (
    "meta_file",
    "logging_file",
    "init_id",
    "run_id",
    "final_id",
    "tracking",
    "workflow_type",
    "properties_path",
)


def flatten(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``{"train": {"lr": 1}, "train#seed": 2}`` -> ``{"train::lr": 1, "train::seed": 2}``."""
    flat: dict[str, Any] = {}
    for key, value in overrides.items():
        name = key.replace("#", "::")
        if isinstance(value, Mapping) and "::" not in name:
            flat |= {f"{name}::{inner}": v for inner, v in value.items()}
        elif value is None and "::" not in name:
            continue  # an empty section
        else:
            flat[name] = value
    return flat
