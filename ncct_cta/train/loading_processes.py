"""The processes that load training data: how many, and their end, with the training or before it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import ignite.distributed as idist
import torch
from torch.utils.data import DataLoader

from ..common.errors import InputError
from ..common.interrupts import interrupt_behind
from ..common.resources import usable_cores

DEATH = "DataLoader worker"  # how PyTorch's error begins
# A job manager's SIGTERM goes to all processes: if it is what ended one of them, this one gets its own by then.
SECONDS_TO_OWN_SIGNAL = 1.0

WORKERS_BESIDE_A_GPU = 4  # one reads and cuts hundreds of slices a second; what moves them is the GPU


def loading_processes(wanted: int | None, device: torch.device) -> int:
    """How many load data beside each process that trains: as wanted; None: none, or so many that no GPU waits."""
    if wanted is not None:
        return wanted
    return min(WORKERS_BESIDE_A_GPU, usable_cores() // idist.get_nproc_per_node()) if device.type == "cuda" else 0


def end_workers(loader: DataLoader) -> None:
    """End the processes that load data.

    PyTorch ends persistent workers when their iterator is collected, which may be much later, within any other code,
    and then takes 5 seconds for each: a queue's thread that is collected first doesn't pass on that they should end.
    """
    iterator: Any = loader._iterator  # PyTorch has no public name for it
    if iterator is not None:
        with contextlib.suppress(RuntimeError):  # one has ended already
            iterator._shutdown_workers()
        loader._iterator = None


@contextlib.contextmanager
def deaths_in_one_line() -> Iterator[None]:
    """Report a loading process that ended by itself in one line, unless it is this training that was stopped.

    Raises:
        InputError: if one was killed.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(DEATH):
            raise
        if interrupt_behind(error):
            raise
        time.sleep(SECONDS_TO_OWN_SIGNAL)
        what = str(error).splitlines()[0].strip(" .")
        raise InputError(
            f"a process that loads data has ended ({what}), maybe for want of memory; lower data.num_workers and go on "
            "with --resume"
        ) from error
