"""Commands that are stopped at random moments, run again, and must end as if nothing had been."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from .findings import LEFTOVER, LOST, STATUS, Findings, leftovers
from .forked import Ended, Stop, run
from .material import MAINS, TINY, TINY_NETWORK, Material

STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
EPOCHS = "3"


@dataclass(frozen=True)
class Work:
    """A command that can be stopped.

    Args:
        words: the command and its words; they run in a folder of their own.
        again: words to add when it is run again.
        same: whether what is in two folders is the same.
        early: the part of its time in which it is stopped.
    """

    words: list[str | Path]
    again: list[str]
    same: Callable[[Path, Path], bool]
    early: float = 1.0


def works(material: Material) -> dict[str, Work]:
    """All of them, by what they show."""
    infer = [
        "infer",
        "--run",
        material.run,
        "--device",
        "cpu",
        "--input",
        material.cohort,
        "--split",
        "all",
        "--output",
        "out",
    ]
    score = [
        "evaluate",
        "--run",
        f"G={material.run}",
        "--datalist",
        material.cohort,
        "--split",
        "all",
        "--output",
        "out",
    ]
    prepare = ["prepare", "pairs", material.folder / "pairs.csv", "--output", "out", "--no-deformable", "--jobs", "2"]
    train = ["train", "g", *TINY, *TINY_NETWORK, "--data::datalist", material.cohort, "--data::cache_dir", "cache"]
    train += ["--train::output_dir", "out", "--num_epochs", EPOCHS]
    return {
        "training": Work(train, ["--resume"], _same_weights),
        "cache": Work(train, ["--resume"], _same_weights, early=0.3),
        "training with workers": Work([*train, "--data::num_workers", "2"], ["--resume"], _same_weights),
        "infer": Work(infer, [], _same_files("*_syncta.nii.gz")),
        "evaluate": Work([*score, "--jobs", "1"], [], _same_files("scores.csv")),
        "evaluate side by side": Work([*score, "--jobs", "2", "--no-report"], [], _same_files("scores.csv")),
        "prepare": Work(prepare, [], _same_files("*.nii.gz")),
    }


class Kills:
    """Kills commands; how long each takes undisturbed is measured once.

    Args:
        material: what the commands work on.
        folder: for their outputs.
    """

    def __init__(self, material: Material, folder: Path) -> None:
        self.works = works(material)
        self.folder = folder
        self.whole: dict[str, tuple[Path, float]] = {}
        folder.mkdir()

    def kill(self, seed: int, number: int, findings: Findings) -> tuple[Ended, Ended]:
        """Stop a command once, run it again, and count what is wrong."""
        rng = random.Random(f"{seed}/kill/{number}")
        name = rng.choice(list(self.works))
        work = self.works[name]
        reference, seconds = self._uninterrupted(name)
        signalled = rng.choice(list(STATUSES))
        to_group = signalled == signal.SIGINT or (signalled == signal.SIGTERM and rng.random() < 0.5)
        stop = Stop(rng.uniform(0.0, seconds * work.early), signalled, to_group)
        folder = self.folder / f"{number:04d}"
        folder.mkdir()
        stopped = self._run(work.words, folder, stop)
        where = "the group" if to_group else "the process"
        sent = f"{signal.Signals(signalled).name} to {where}"
        example = f"--seed {seed} --kill {number}: {name}, {sent} after {stop.after:.2f} s"
        findings.judge(name, example, stopped)
        unheard = stopped.status == -signalled and not stopped.said  # it came before the command could listen
        if stopped.status not in (0, STATUSES[signalled], None) and not unheard:
            findings.add(name, STATUS, f"{example}: exit status {stopped.status}: {stopped.said[-300:]}")
        left = leftovers(folder)
        if left and (signalled != signal.SIGKILL or any("(cut)" in one and "/." not in f"/{one}" for one in left)):
            findings.add(name, LEFTOVER, f"{example}: {left[:3]}")
        again = self._run([*work.words, *work.again], folder, None)
        findings.judge(name, f"{example}, then again", again)
        if again.status != 0 or not work.same(folder / "out", reference / "out"):
            findings.add(name, LOST, f"{example}: again gives {again.status}, or another result: {again.said[-300:]}")
        if left := leftovers(folder):
            findings.add(name, LEFTOVER, f"{example}, then again: {left[:3]}")
        return stopped, again

    def _uninterrupted(self, name: str) -> tuple[Path, float]:
        if name not in self.whole:
            folder = self.folder / f"whole {name}"
            folder.mkdir()
            ended = self._run(self.works[name].words, folder, None)
            if ended.status != 0:
                raise RuntimeError(f"{name} ended with {ended.status} undisturbed: {ended.said[-2000:]}")
            self.whole[name] = folder, ended.seconds
        return self.whole[name]

    def _run(self, words: list, folder: Path, stop: Stop | None) -> Ended:
        command, *rest = words
        return run(MAINS[str(command)], rest, folder, stop=stop)


def _same_weights(ours: Path, others: Path) -> bool:
    found = [torch.load(folder / "checkpoint_last.pt", weights_only=True) for folder in (ours, others)]
    return all(
        torch.equal(found[0][entry][name], value)
        for entry in ("network", "ema")
        for name, value in found[1][entry].items()
    )


def _same_files(pattern: str) -> Callable[[Path, Path], bool]:
    def same(ours: Path, others: Path) -> bool:
        names = sorted(path.name for path in others.glob(pattern))
        return sorted(path.name for path in ours.glob(pattern)) == names and all(
            (ours / name).read_bytes() == (others / name).read_bytes() for name in names
        )

    return same
