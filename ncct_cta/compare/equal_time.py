"""Trainings that take equally long, whatever a step of each costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..train import main as train

NEVER = 1_000_000  # epochs between validations: these would count
# Steps of the two short trainings that a step's time is the difference of: what starts and ends a training cancels out.
FIRST_STEPS, SOME_STEPS = 2, 12
ON_A_GPU = 10  # times as many: its first steps choose their kernels


@dataclass(frozen=True)
class TimedTraining:
    """A preset and what is changed in it, on one device.

    Args:
        preset: its name or file.
        datalist: a case list or a folder of cases.
        words: further settings, as on the command line.
        device: ``cpu``: time is the process', summed over its threads, so that other programs count less; else it is
            the clock's.
        seed: of weights, sampling and augmentation.
    """

    preset: str
    datalist: Path
    words: Sequence[str] = ()
    device: str = "cpu"
    seed: int = 0

    @property
    def clock(self) -> Callable[[], float]:
        """What the time is read from, in seconds."""
        return time.process_time if self.device == "cpu" else time.perf_counter

    def run(self, steps: int, folder: Path, *, epochs: int = 1, resume: bool = False) -> float:
        """Train for so many steps in a folder, without a validation; return the seconds that it took."""
        given = {
            "data::datalist": self.datalist,
            "train::num_epochs": epochs,
            "train::steps_per_epoch": max(1, steps // epochs),
            "train::val_every": NEVER,
            "train::seed": self.seed,
            "train::device": self.device,
            "train::output_dir": folder,
            **({"data::num_workers": 0} if self.device == "cpu" else {}),  # other processes' time isn't counted
        }
        words = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
        start = self.clock()
        train([self.preset, *words, *self.words, *(["--resume"] if resume else [])])
        return self.clock() - start

    def seconds_per_step(self, place: Path) -> float:
        """Measure a step by short trainings in folders below ``place``, the first of which prepares the cases."""
        more = 1 if self.device == "cpu" else ON_A_GPU
        self.run(1, place / "first")
        few = self.run(FIRST_STEPS * more, place / "few")
        some = self.run(SOME_STEPS * more, place / "some")
        return max(some - few, 0.01) / ((SOME_STEPS - FIRST_STEPS) * more)


def steps_within(seconds: float, seconds_per_step: float) -> int:
    """How many steps fit, at least one."""
    return max(1, round(seconds / seconds_per_step))
