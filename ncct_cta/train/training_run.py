"""A complete training run."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist

from ..common.errors import InputError, one_line_errors
from ..common.files import drop_link
from ..common.folders import locked_folder, writable_folder
from ..common.interrupts import AGAIN, one_line_interrupts
from ..common.terminal import threads_keep_quiet
from ..data import PatchDataset
from ..engines import AdversarialSynthesisTrainer, SynthesisTrainer
from ..handlers import CheckpointHandler
from ..handlers.checkpoint import NEWEST
from ..networks import SynthesisCascade
from ..networks.architectures import architecture_problems
from ..runs.names import BEST, LAST, LOG, METRICS, PREVIEWS, SETTINGS, TENSORBOARD
from ..runs.record import require_no_others_files, write_record
from ..runs.recorded_preprocessing import checked_wiring, own_preprocessing
from ..runs.warm_start import changed_settings, own_checkpoint, start_from_other_runs
from ..settings import Section, Settings, TrainConfig
from ..settings.combinations import check_combinations
from .best_epochs import choices_of_best
from .loading_processes import deaths_in_one_line, end_workers
from .log_file import log_file_to_come
from .tracking import complete_tracking

logger = logging.getLogger(__name__)
logger.addFilter(lambda record: idist.get_rank() == 0)  # otherwise every process would log the same

REMEDY = "set another train.output_dir"


class TrainingRun:
    """A complete training run, built from the ``train`` section of the bundle's YAML.

    Args:
        sections: the other sections of the settings.
        wiring: the YAML, or several merged, whose sections the settings fill: it becomes the run's ``config.yaml``.
        dataset: the training patches.
        trainer: the engine.
        cascade: the unwrapped cascade, for warm starts.
        settings: the settings of ``TrainConfig``, and the other parts that MONAI expects (dataloader, inferer,
            handlers).
    """

    @one_line_errors()
    def __init__(
        self,
        *,
        sections: Sequence[Section],
        wiring: str | Sequence[str],
        dataset: PatchDataset,
        trainer: SynthesisTrainer | AdversarialSynthesisTrainer,
        cascade: SynthesisCascade,
        **settings: Any,
    ) -> None:
        parts = ("dataloader", "inferer", "handlers")
        plain = {key: value for key, value in settings.items() if key not in parts}
        parts_by_name: dict[str, Any] = {part.section_name(): part for part in sections}
        self.settings = Settings(train=TrainConfig.parse(plain), **parts_by_name)
        require_fitting(self.settings)
        self.wiring = wiring
        self.dataset = dataset
        self.trainer = trainer
        self.cascade = cascade
        self.checkpoints = next(h for h in settings["handlers"] if isinstance(h, CheckpointHandler))
        self.loader = settings["dataloader"]
        self.folder = Path(self.settings.train.output_dir)
        complete_tracking(settings["handlers"], trainer, self.settings)

    @one_line_errors()
    def run(self) -> None:
        """Prepare the folder and the data, resume from the last checkpoint if requested, and train."""
        first = idist.get_rank() == 0
        with contextlib.ExitStack() as closing:
            write_log = closing.enter_context(log_file_to_come(debug=self.settings.train.debug)) if first else None
            # Find everything that can be wrong before touching the folder.
            self._check_processes()
            wiring = checked_wiring(self.wiring, self.settings.data, self.dataset.cases.preprocessing)
            self.checkpoints.settings = self.settings.as_plain() | own_preprocessing(wiring)
            self.dataset.prepare()
            self._load()
            if self.trainer.state.epoch >= self.trainer.state.max_epochs:
                logger.info("the run in %s is complete: %d epochs", self.folder, self.trainer.state.epoch)
                return
            if write_log:
                self._prepare_folder()
                closing.enter_context(locked_folder(self.folder, REMEDY))
                write_log(self.folder / LOG)
                write_record(self.folder, self.settings, wiring)
            logger.info("training in %s, after epoch %d", self.folder, self.trainer.state.epoch)
            if self.settings.train.amp != self.trainer.precision:
                logger.info("mixed precision: %s, as suits this device (train.amp auto)", self.trainer.precision)
            idist.barrier()
            closing.callback(end_workers, self.loader)
            closing.enter_context(threads_keep_quiet(OSError))
            closing.enter_context(one_line_interrupts(self._how_to_go_on))
            closing.enter_context(deaths_in_one_line())
            self.trainer.run()
            if first:
                self._say_what_came_of_it()

    def _say_what_came_of_it(self) -> None:
        """Log which epoch is the best and why, where its weights lie, and what to do with them."""
        best, value = self.checkpoints.best, self.checkpoints.best_value
        logger.info("the best epoch by each of its choices: %s", ", ".join(choices_of_best(self.folder / METRICS)))
        if (self.folder / BEST).is_file() and (math.isfinite(value) or best == NEWEST):
            reason = "last one" if best == NEWEST else f"one with the lowest {best}, {value:.4g}"
            logger.info("the best epoch is the %s: %s", reason, self.folder / BEST)
            logger.info("use it with: ncct-cta infer --run %s --input SCAN --output DIR", self.folder)

    def _how_to_go_on(self) -> str:
        """What to do after an interrupt."""
        epoch = self.checkpoints.saved_epoch
        if idist.get_rank() > 0:
            return "the first process says how to go on"
        if not epoch:
            return f"no epoch was finished in {self.folder}; {AGAIN}"
        return f"--resume goes on with epoch {epoch + 1}, from {self.folder / LAST}"

    def _load(self) -> None:
        """Resume from the last checkpoint, or start from pretrained weights or from scratch."""
        last = self.folder / LAST
        if self.settings.train.resume and last.is_file():
            checkpoint = own_checkpoint(last, self.settings, self.checkpoints.settings)
            self.checkpoints.restore(self.trainer, checkpoint)
            logger.info("resuming from %s", last)
            changed = changed_settings(checkpoint.get(SETTINGS, {}), self.settings.as_plain())
            if changed:
                logger.info("settings that differ from those of epoch %d: %s", self.trainer.state.epoch, changed)
        else:
            start_from_other_runs(self.cascade, self.settings, self.checkpoints.settings)

    def _check_processes(self) -> None:
        processes, batch_size = idist.get_world_size(), self.settings.train.batch_size
        if batch_size % processes:
            raise InputError(f"train.batch_size is {batch_size}, expected a multiple of the {processes} processes")

    def _prepare_folder(self) -> None:
        """Make the run's folder; an earlier run that isn't resumed is moved aside, and nothing of anyone is lost."""
        require_no_others_files(self.folder)
        if (self.folder / LAST).exists() and not self.settings.train.resume:
            writable_folder(self.folder.parent, REMEDY)
            with locked_folder(self.folder, REMEDY):  # a run still in progress would write into this one's folder
                moved = next(p for n in range(1, 10**6) if not (p := Path(f"{self.folder}.{n}")).exists())
            self.folder.rename(moved)
            logger.warning("%s held an earlier run, which is now in %s", self.folder, moved)
        writable_folder(self.folder, REMEDY)
        for name in (PREVIEWS, TENSORBOARD, f"{TENSORBOARD}/{PREVIEWS}"):
            drop_link(self.folder / name)


def require_fitting(settings: Settings) -> None:
    """Check the settings together, and with what the network can take.

    Raises:
        InputError: one line with every problem.
    """
    model = settings.model
    problems = check_combinations(settings)
    problems += architecture_problems(model.architecture, model.channels, model.norm, settings.data.patch_size)
    if problems:
        raise InputError("; ".join(problems))
