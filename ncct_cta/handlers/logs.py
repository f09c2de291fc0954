"""What a run tells while it runs: metrics.csv, TensorBoard and a progress bar."""

from __future__ import annotations

import csv
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines.workflow import Workflow
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from ..common import keys
from ..common.files import drop_link
from ..metrics.term_mean import TermMean
from ..runs.files import METRICS

logger = logging.getLogger(__name__)


class MetricsLogHandler:
    """Write each epoch's metrics as a row of ``metrics.csv``, as TensorBoard scalars and as one line in the log.

    Args:
        output_dir: the run's folder.
        further_terms: names of terms that the loss has beside those of every run; they get columns of their own.
    """

    def __init__(self, output_dir: str | Path, further_terms: Sequence[str] = ()) -> None:
        self.path = Path(output_dir) / METRICS
        self.terms = terms = (*keys.TRAINING_TERMS, *further_terms)
        self.columns = ["epoch", "iteration", *terms, *keys.VALIDATION_TERMS]

    def attach(self, engine: Workflow) -> None:
        """Measure every step, write after every epoch; attach after the validation."""
        for name in self.terms:
            TermMean(name, device=engine.state.device).attach(engine, name)
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def _start(self, engine: Workflow) -> None:
        """Keep the rows that the checkpoint covers: what an interrupted run wrote beyond it will be written again."""
        rows = []
        if self.path.exists() and engine.state.epoch > 0:
            with open(self.path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= engine.state.epoch]
        self._write(rows)
        # The first step that is purged, not the last that is kept.
        self.writer = SummaryWriter(str(self.path.parent / "tensorboard"), purge_step=engine.state.iteration + 1)

    def _write(self, rows: Sequence[Mapping[str, object]]) -> None:
        beside = self.path.with_suffix(".csv.tmp")
        drop_link(beside)
        with open(beside, "w", newline="") as file:
            table = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore")
            table.writeheader()
            table.writerows(rows)
        os.replace(beside, self.path)

    def __call__(self, engine: Workflow) -> None:
        """Write the epoch that has just ended."""
        state = engine.state
        known = {name: float(state.metrics[name]) for name in self.columns if name in state.metrics}
        values = {name: value for name, value in known.items() if not math.isnan(value)}
        row = {"epoch": state.epoch, "iteration": state.iteration}
        with open(self.path, "a", newline="") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row | {k: f"{v:.6g}" for k, v in values.items()})
        for name, value in values.items():
            self.writer.add_scalar(name, value, state.iteration)
        self.writer.flush()
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        logger.info("epoch %d/%d  %s", state.epoch, state.max_epochs, shown)

    def _close(self, engine: Workflow) -> None:
        self.writer.close()


class ProgressBarHandler:
    """One bar over all steps of the run with the loss, the epoch and the time left.

    Args:
        every: steps between updates of the numbers, so that a GPU isn't waited for at every step.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every

    def attach(self, engine: Workflow) -> None:
        """Show the bar from start to end."""
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED | Events.TERMINATE | Events.EXCEPTION_RAISED, self._close)

    def _start(self, engine: Workflow) -> None:
        state = engine.state
        total = state.max_epochs * state.epoch_length
        self.bar = tqdm(total=total, initial=state.iteration, desc="training", unit="step", dynamic_ncols=True)

    def __call__(self, engine: Workflow) -> None:
        """Move on by a step."""
        self.bar.update()
        if engine.state.iteration % self.every == 0:
            loss = torch.as_tensor(engine.state.output[keys.TERMS][keys.LOSS])
            self.bar.set_postfix(epoch=engine.state.epoch, loss=f"{float(loss):.4f}", refresh=False)

    def _close(self, engine: Workflow, error: Exception | None = None) -> None:
        self.bar.close()
        if error is not None:
            raise error
