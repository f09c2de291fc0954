"""A training from folder to finish."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import yaml
from monai.bundle import ConfigParser

from ..common.errors import InputError, one_line_errors
from ..common.files import write_text
from ..common.folders import locked_folder, writable_folder
from ..data import PatchDataset
from ..engines import AdversarialSynthesisTrainer, SynthesisTrainer
from ..handlers import CheckpointHandler
from ..networks import SynthesisCascade
from ..runs.checkpoints import check_settings, load_checkpoint, load_weights, part_weights
from ..runs.files import LAST, SETTINGS
from ..settings import ModelConfig, Settings, TrainConfig
from ..settings.declaration import Section
from ..settings.places import bundle_config
from ..settings.sections import check_combinations

logger = logging.getLogger(__name__)
logger.addFilter(lambda record: idist.get_rank() == 0)  # every process would say the same

# Settings that name a place: absolute in config.yaml, which may be started from anywhere.
PATHS = (
    ("data", "datalist"),
    ("data", "cache_dir"),
    ("train", "output_dir"),
    ("train", "pretrained_G"),
    ("train", "pretrained_G2"),
)
# Settings that weights were trained for: with others some load all the same, and give wrong images without an error.
WINDOW = ("data.window",)
G_SETTINGS = (*WINDOW, *(f"model.{field.name}" for field in dataclasses.fields(ModelConfig)))
REFINE_SETTINGS = ("refine.enabled", "refine.hidden_dim", "refine.num_blocks", "refine.fusion")
REMEDY = "set another train.output_dir"


class TrainingRun:
    """A training from folder to finish: the ``train`` section of the bundle's YAML becomes this.

    Args:
        sections: the other sections of the settings.
        wiring: the YAML whose sections the settings fill: it becomes the run's ``config.yaml``.
        dataset: the training patches.
        trainer: the engine.
        cascade: the plain cascade, for warm starts.
        settings: the settings of ``TrainConfig``, and MONAI's further parts (dataloader, inferer, handlers).
    """

    @one_line_errors()
    def __init__(
        self,
        *,
        sections: Sequence[Section],
        wiring: str,
        dataset: PatchDataset,
        trainer: SynthesisTrainer | AdversarialSynthesisTrainer,
        cascade: SynthesisCascade,
        **settings: Any,
    ) -> None:
        parts = ("dataloader", "inferer", "handlers")
        plain = {key: value for key, value in settings.items() if key not in parts}
        parts_by_name: dict[str, Any] = {part.section_name(): part for part in sections}
        self.settings = Settings(train=TrainConfig.parse(plain), **parts_by_name)
        problems = check_combinations(self.settings)
        if problems:
            raise InputError("; ".join(problems))
        self.wiring = wiring
        self.dataset = dataset
        self.trainer = trainer
        self.cascade = cascade
        self.checkpoints = next(h for h in settings["handlers"] if isinstance(h, CheckpointHandler))
        self.folder = Path(self.settings.train.output_dir)

    @one_line_errors()
    def run(self) -> None:
        """Prepare the folder and the data, go on from the last checkpoint if wanted, train."""
        first = idist.get_rank() == 0
        with contextlib.ExitStack() as closing:
            write_log = closing.enter_context(held_log(debug=self.settings.train.debug)) if first else None
            # Whatever can be wrong is found before the folder is touched.
            self._check_processes()
            self.dataset.prepare()
            self._load()
            if self.trainer.state.epoch >= self.trainer.state.max_epochs:
                logger.info("the run in %s is complete: %d epochs", self.folder, self.trainer.state.epoch)
                return
            self.checkpoints.settings = self.settings.as_plain()
            if write_log:
                self._prepare_folder()
                closing.enter_context(locked_folder(self.folder, REMEDY))
                write_log(self.folder / "train.log")
                self._record()
            logger.info("training in %s, after epoch %d", self.folder, self.trainer.state.epoch)
            idist.barrier()
            self.trainer.run()

    def _load(self) -> None:
        """Go on from the last checkpoint, or start from pretrained weights, or from scratch."""
        last = self.folder / LAST
        if self.settings.train.resume and last.is_file():
            refine = REFINE_SETTINGS if self.settings.refine.enabled else ("refine.enabled",)
            self.checkpoints.restore(self.trainer, self._checkpoint(last, (*G_SETTINGS, *refine)))
            logger.info("resuming from %s", last)
        else:
            self._warm_start()

    def _checkpoint(self, path: str | Path, names: Sequence[str]) -> dict[str, Any]:
        """Read a checkpoint; where it says how it was trained, the settings ``names`` must be the same."""
        checkpoint = load_checkpoint(path)
        check_settings(checkpoint.get(SETTINGS, {}), self.settings.as_plain(), names, path)
        return checkpoint

    def _check_processes(self) -> None:
        processes, batch_size = idist.get_world_size(), self.settings.train.batch_size
        if batch_size % processes:
            raise InputError(f"train.batch_size is {batch_size}, expected a multiple of the {processes} processes")

    def _warm_start(self) -> None:
        """Load pretrained G and G2."""
        self._warn_of_unused()
        train, refine, discriminator = self.settings.train, self.settings.refine, self.settings.discriminator
        if discriminator.enabled and not train.skip_warmup and discriminator.warmup_epochs >= train.num_epochs:
            logger.warning(
                "D never joins: discriminator.warmup_epochs is %d of %d epochs; lower it, or skip_warmup",
                discriminator.warmup_epochs,
                train.num_epochs,
            )
        if train.pretrained_G2 and not refine.enabled:
            raise InputError("train.pretrained_G2 is given, but there is no G2; set refine.enabled to true")
        if refine.enabled and refine.freeze_G and not train.pretrained_G:
            logger.warning(
                "G is frozen and untrained, G2 gets x * |x|: set train.pretrained_G, or refine.freeze_G false"
            )
        starts = (
            ("generator", train.pretrained_G, G_SETTINGS),
            ("refine_net", train.pretrained_G2, WINDOW),  # it may refine another G; its layers' shapes tell the rest
        )
        for part, path, names in starts:
            if path:
                weights = part_weights(self._checkpoint(path, names), part, path)
                load_weights(self.cascade.get_submodule(part), weights, path)
                logger.info("%s starts from %s", part, path)

    def _warn_of_unused(self) -> None:
        """Name what was set for G's training and does nothing in G2's."""
        train, refine, default = self.settings.train, self.settings.refine, TrainConfig()
        of_g = (*(("lr",) if refine.freeze_G else ()), "lr_scheduler", "warmup_steps")
        unused = [name for name in of_g if refine.enabled and getattr(train, name) != getattr(default, name)]
        for name in unused:
            logger.warning("train.%s does nothing while G2 trains; set refine.%s", name, name)

    def _prepare_folder(self) -> None:
        """Make the run's folder; an earlier run that isn't resumed is moved aside, never lost."""
        if (self.folder / LAST).exists() and not self.settings.train.resume:
            writable_folder(self.folder.parent, REMEDY)
            with locked_folder(self.folder, REMEDY):  # a run that still goes on would write into this one's folder
                moved = next(p for n in range(1, 10**6) if not (p := Path(f"{self.folder}.{n}")).exists())
            self.folder.rename(moved)
            logger.warning("%s held an earlier run, which is now in %s", self.folder, moved)
        writable_folder(self.folder, REMEDY)

    def _record(self) -> None:
        """Write ``config.yaml``, which alone starts this run again, and what MONAI's tools look for beside it."""
        recorded = ConfigParser.load_config_file(self.wiring)
        plain = self.settings.as_plain()
        for section, key in PATHS:
            if plain[section][key]:
                plain[section][key] = os.path.abspath(plain[section][key])
        plain["train"]["resume"] = False
        for name, values in plain.items():
            recorded[name] |= values
        launch = "# python -m monai.bundle run training --config_file <this file>\n"
        write_text(launch + dump_yaml(recorded), self.folder / "config.yaml")
        for name in ("metadata.json", "logging.conf"):
            shutil.copyfile(bundle_config(name), self.folder / name)


@contextlib.contextmanager
def held_log(*, debug: bool = False) -> Iterator[Callable[[Path], None]]:
    """Hold this process' log, at debug level if wanted, until the function it gives is told the file to write it to."""
    held = MemoryHandler(capacity=1)  # without a target it keeps all, with one it passes all on

    def write_to(path: Path) -> None:
        file = closing.enter_context(contextlib.closing(logging.FileHandler(path)))
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        held.setTarget(file)
        held.flush()

    package = logging.getLogger("ncct_cta")
    level = package.level
    logging.getLogger().addHandler(held)
    if debug:
        package.setLevel(logging.DEBUG)
    with contextlib.ExitStack() as closing:
        try:
            yield write_to
        finally:
            package.setLevel(level)
            logging.getLogger().removeHandler(held)
            held.close()


def dump_yaml(content: Mapping[str, Any]) -> str:
    """Plain data as YAML, in the given order."""
    return yaml.safe_dump(dict(content), sort_keys=False, width=120, allow_unicode=True)
