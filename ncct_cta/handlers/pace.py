"""How fast a training is, and how much of the GPU's memory it takes."""

from __future__ import annotations

import time

import torch
from ignite.engine import Engine, Events

STEP_SECONDS, GPU_MIB = "step_seconds", "gpu_mib"


class Pace:
    """Measure an epoch's seconds per step, loading included and validation not, and its peak GPU memory.

    The figures stand in the log and in TensorBoard. They aren't in ``metrics.csv``, which is the same for two runs
    that learn the same.

    Attributes:
        figures: of the last epoch: ``step_seconds``, and on a CUDA device ``gpu_mib``.
    """

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self._start = self._last = 0.0
        self._steps = 0

    def attach(self, engine: Engine) -> None:
        """Watch an engine; attach it before what reads the figures."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def _begin(self, engine: Engine) -> None:
        self._start, self._steps = time.perf_counter(), 0
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def _step(self, engine: Engine) -> None:
        self._last = time.perf_counter()
        self._steps += 1

    def _end(self, engine: Engine) -> None:
        # The GPU's work is queued, but an epoch is long: what is still in the queue at its end doesn't count.
        self.figures = {STEP_SECONDS: (self._last - self._start) / max(self._steps, 1)}
        if torch.cuda.is_available():
            self.figures[GPU_MIB] = torch.cuda.max_memory_allocated() / 2**20
