"""Commands that write to a disk with little room."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ncct_cta.common.errors import InputError
from ncct_cta.runs.checkpoints import load_checkpoint

from .findings import LEFTOVER, LOST, STATUS, Findings, leftovers
from .forked import Ended, run
from .kills import works
from .material import MAINS, Material

LEAST_KIB, MOST_KIB = 8, 3000
REASONS = ("No space left", "no space left", "too large")


def fill(seed: int, number: int, material: Material, folder: Path, findings: Findings) -> Ended:
    """Run a command whose output goes to a small disk, and count what is wrong."""
    rng = random.Random(f"{seed}/disk/{number}")
    name = rng.choice(["training", "infer", "evaluate", "prepare"])
    kib = int(LEAST_KIB * (MOST_KIB / LEAST_KIB) ** rng.random())
    folder.mkdir()
    command, *words = works(material)[name].words
    with _disk(folder / "small", kib) as limit:
        placed = [word if word != "out" else folder / "small" / "out" for word in words]
        ended = run(MAINS[str(command)], placed, folder, before=limit)
        example = f"--seed {seed} --disk {number}: {name} with {kib} KiB"
        findings.judge(f"{name}, small disk", example, ended)
        named = ended.status == 0 or any(reason in ended.said for reason in REASONS)
        if ended.status not in (0, 2, 3, None) or not named:
            findings.add(f"{name}, small disk", STATUS, f"{example}: exit status {ended.status}: {ended.said[-400:]}")
        if left := leftovers(folder):
            findings.add(f"{name}, small disk", LEFTOVER, f"{example}: {left[:3]}")
        last = folder / "small" / "out" / "checkpoint_last.pt"
        if last.exists() and not _loads(last):
            findings.add(f"{name}, small disk", LOST, f"{example}: {last.name} isn't whole")
    return ended


@contextmanager
def _disk(folder: Path, kib: int) -> Iterator[Callable[[], None] | None]:
    """A small disk where one may be mounted; elsewhere files may only be so large, which fails in the same way."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0:
        try:
            yield None
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
    else:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, kib * 1024))


def _loads(checkpoint: Path) -> bool:
    try:
        load_checkpoint(checkpoint)
    except InputError:
        return False
    return True
