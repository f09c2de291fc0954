"""What a run reports while it is running: metrics.csv, TensorBoard and a progress bar."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines.workflow import Workflow

from ..common import keys
from ..common.errors import InputError, reason_of
from ..common.files import table_text, write_table
from ..common.progress import progress_bar
from ..metrics.term_mean import TermMean
from ..runs.names import METRICS
from .event_file import writer_of
from .pace import Pace

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
        self.pace = Pace()
        self.columns = ["epoch", "iteration", *terms, *keys.VALIDATION_TERMS, *keys.QUICK_TERMS]

    def attach(self, engine: Workflow) -> None:
        """Average over each epoch and write at its end; attach it after validation."""
        self.pace.attach(engine)
        for name in self.terms:
            TermMean(name, device=engine.state.device).attach(engine, name)
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def _start(self, engine: Workflow) -> None:
        """Keep the rows up to the checkpoint: what an interrupted run wrote after it will be written again."""
        rows = []
        if self.path.exists() and engine.state.epoch > 0:
            text = self.path.read_bytes().decode()
            whole = text[: text.rfind("\n") + 1]  # a killed run may have begun a line
            rows = [row for row in csv.DictReader(io.StringIO(whole)) if int(row["epoch"]) <= engine.state.epoch]
        columns_of_now = [{name: row.get(name, "") for name in self.columns} for row in rows]
        write_table(self.path, columns_of_now, self.columns)
        with self._full_disk_named(f"up to epoch {engine.state.epoch}"):
            self.writer = writer_of(self.path.parent / "tensorboard", engine.state.iteration)

    def __call__(self, engine: Workflow) -> None:
        """Write the epoch just completed; other loggers, which come later, see nothing that wasn't measured either."""
        state = engine.state
        known = {name: float(state.metrics[name]) for name in self.columns if name in state.metrics}
        values = {name: value for name, value in known.items() if not math.isnan(value)}
        for name in known.keys() - values.keys():
            del state.metrics[name]
        row = {"epoch": state.epoch, "iteration": state.iteration} | {k: f"{v:.6g}" for k, v in values.items()}
        with self._full_disk_named(f"of epoch {state.epoch}"):
            self._append(row)
            for name, value in (values | self.pace.figures).items():
                self.writer.add_scalar(name, value, state.iteration)
            self.writer.flush()
        shown = "  ".join(f"{name} {value:.4g}" for name, value in (values | self.pace.figures).items())
        logger.info("epoch %d/%d  %s", state.epoch, state.max_epochs, shown)

    @contextmanager
    def _full_disk_named(self, which: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{self.path.parent}: the figures {which} can't be written ({reason_of(error)}); free some space and "
                "go on with --resume"
            ) from error

    def _append(self, row: Mapping[str, object]) -> None:
        """Add a whole line or nothing."""
        line = table_text([{name: row.get(name, "") for name in self.columns}], self.columns).splitlines(True)[1]
        with open(self.path, "ab", buffering=0) as file:
            size, rest = file.seek(0, os.SEEK_END), line.encode()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(size)
                raise

    def _close(self, engine: Workflow) -> None:
        self.writer.close()


class ProgressBarHandler:
    """One bar over all steps of the run with the loss, the epoch and the time left.

    Args:
        every: steps between updates of the numbers, so that the GPU isn't stalled at every step.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self.bar = progress_bar(shown=False)  # a run may end before it starts

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
        self.bar = progress_bar(total=total, initial=state.iteration, desc="training", unit="step", dynamic_ncols=True)

    def __call__(self, engine: Workflow) -> None:
        """Advance by one step."""
        self.bar.update()
        if engine.state.iteration % self.every == 0 and not self.bar.disable:
            loss = torch.as_tensor(engine.state.output[keys.TERMS][keys.LOSS])
            self.bar.set_postfix(epoch=engine.state.epoch, loss=f"{float(loss):.4f}", refresh=False)

    def _close(self, engine: Workflow, error: Exception | None = None) -> None:
        self.bar.close()
        if error is not None:
            raise error
