"""Work side by side in processes that end with this one, however it ends, and whose deaths cost one case each."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import torch

from ..common.processes import end_with_parent, signals_wait
from ..common.resources import usable_cores

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def side_by_side(
    work: Callable[[Item], Outcome], items: Sequence[Item], jobs: int, died: Callable[[Item], Outcome]
) -> Iterator[Outcome]:
    """Work on all items in other processes.

    Args:
        work: a module's function, which raises nothing.
        items: what it is given, one by one.
        jobs: processes at a time.
        died: the outcome of an item whose process was killed, for want of memory as a rule.

    Yields:
        the outcomes in the items' order.
    """
    with _pool(jobs) as submit:
        futures = submit(work, items)
        for item, future in zip(items, futures, strict=True):
            try:
                yield future.result()
            except BrokenProcessPool:  # one of those that were running: each alone shows which
                yield _alone(work, item, died)


def _alone(work: Callable[[Item], Outcome], item: Item, died: Callable[[Item], Outcome]) -> Outcome:
    with _pool(1) as submit:
        try:
            return submit(work, [item])[0].result()
        except BrokenProcessPool:
            return died(item)


@contextmanager
def _pool(jobs: int) -> Iterator[Callable[[Callable[[Item], Outcome], Sequence[Item]], list[Future[Outcome]]]]:
    """A pool of processes, ended at once where this one stops in between."""
    # Fresh processes: a forked one would inherit PyTorch's threads in an unknown state.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(max(1, usable_cores() // jobs),))

    def submit(work: Callable[[Item], Outcome], items: Sequence[Item]) -> list[Future[Outcome]]:
        with signals_wait(signal.SIGINT):  # what starts meanwhile never sees Ctrl-C: it is this process that ends it
            return [pool.submit(work, item) for item in items]

    try:
        yield submit
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """What each process does first."""
    torch.set_num_threads(threads)
    end_with_parent()
