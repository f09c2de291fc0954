"""Many cases side by side, each in a process of its own, within a budget of memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from tqdm import tqdm

from ...common.errors import InputError, fault_in_words

DEFAULT_SHARE = 0.7  # of the machine's memory
GIB = 2**30


@dataclass(frozen=True)
class Job:
    """A case to work on.

    Args:
        name: the case.
        argument: what the worker is called with; it must be picklable.
        memory_gb: what it will need at most.
    """

    name: str
    argument: Any
    memory_gb: float


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    outcome: Connection


@dataclass
class _Pool:
    """The processes that run, and what came out of those that have ended."""

    worker: Callable[[Any], None]
    context: BaseContext
    running: list[_Running] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def memory_gb(self) -> float:
        return sum(one.job.memory_gb for one in self.running)

    def start(self, job: Job) -> None:
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_work, args=(self.worker, job.argument, sender), daemon=True)  # type: ignore[attr-defined]
        with _interrupts_wait():
            process.start()
            sender.close()
            self.running.append(_Running(job, process, receiver))

    def reap(self) -> list[str]:
        """Wait until a process ends; return the names of all cases whose process has."""
        wait([one.process.sentinel for one in self.running])
        ended = [one for one in self.running if not one.process.is_alive()]
        for one in ended:
            failure = _outcome(one)
            if failure is not None:
                self.failures[one.job.name] = failure
        self.running = [one for one in self.running if one not in ended]
        return [one.job.name for one in ended]

    def close(self) -> None:
        """End what still runs: after Ctrl-C."""
        for one in self.running:
            one.process.terminate()
        for one in self.running:
            one.process.join()


def run_jobs(jobs: Sequence[Job], worker: Callable[[Any], None], *, processes: int, memory_gb: float) -> dict[str, str]:
    """Work on all cases; one that fails, crashes or is killed never stops the others.

    Args:
        jobs: the cases; the largest are begun first.
        worker: called with a job's argument in a new process; an ``InputError`` tells why a case can't be done.
        processes: how many at a time, at most.
        memory_gb: how much their estimates may add up to.

    Returns:
        Why a case failed, for those that did.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload([worker.__module__])  # imports take seconds, and a fork has them already
    pool = _Pool(worker, context)
    waiting = sorted(jobs, key=lambda job: -job.memory_gb)
    with closing(pool), tqdm(total=len(jobs), desc="cases", unit="case") as bar:
        while waiting or pool.running:
            for job in list(waiting):
                alone = not pool.running and job.memory_gb > memory_gb
                if alone:
                    pool.failures[job.name] = _too_large(job, memory_gb)
                    waiting.remove(job)
                    bar.update()
                elif len(pool.running) < processes and pool.memory_gb + job.memory_gb <= memory_gb:
                    pool.start(job)
                    waiting.remove(job)
            if pool.running:
                bar.update(len(pool.reap()))
    return pool.failures


def machine_memory_gb() -> float:
    """The part of the machine's memory that is taken without being told otherwise, GiB; 4 where it isn't known."""
    try:
        return DEFAULT_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    except (AttributeError, ValueError, OSError):  # Windows
        return 4.0


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait. Processes that start meanwhile never see it: it is this process that ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # before Python 3.13 its start would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(worker: Callable[[Any], None], argument: Any, outcome: Connection) -> None:
    try:
        worker(argument)
    except InputError as error:
        outcome.send(" ".join(str(error).split()))
    except Exception as error:
        outcome.send(_fault_words(error))
    else:
        outcome.send(None)


def _fault_words(error: Exception) -> str:
    # SimpleITK has no other type for it.
    if isinstance(error, MemoryError) or any(words in str(error) for words in ("allocate memory", "bad_alloc")):
        return "the memory was not enough; give fewer --jobs or a coarser --spacing"
    return fault_in_words(error)


def _outcome(ended: _Running) -> str | None:
    try:
        outcome: str | None = ended.outcome.recv() if ended.outcome.poll() else _exit_reason(ended.process)
    except EOFError:
        outcome = _exit_reason(ended.process)
    ended.process.join()
    ended.outcome.close()
    return outcome


def _exit_reason(process: BaseProcess) -> str:
    process.join()
    code = process.exitcode or 0
    reason = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return f"its process died ({reason}), probably for want of memory; run again with fewer --jobs"


def _too_large(job: Job, memory_gb: float) -> str:
    return (
        f"it needs about {job.memory_gb:.1f} GB, the budget is {memory_gb:.1f} GB; give more --memory-gb or a coarser "
        "--spacing"
    )
