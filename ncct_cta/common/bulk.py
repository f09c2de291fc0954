"""Process many cases in parallel, each in its own process, within a memory budget."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from .cluster import run_on_cluster
from .errors import InputError, fault_in_words
from .processes import end_with_parent, signals_wait
from .progress import progress_bar

DEFAULT_SHARE = 0.7  # of the machine's memory
GIB = 2**30
STEP, OVER = "step", "over"  # what a process sends: where it is, and at last why it failed or None
SHOWN = 2  # cases in the progress bar

COARSER = "a coarser --spacing"  # what a preparation can be given that takes less memory
LIGHTER = f"fewer --jobs or {COARSER}"

Worker = Callable[[Any, Callable[[str], None]], Any]


@dataclass(frozen=True)
class Job:
    """A case to work on.

    Args:
        name: the case.
        argument: what the worker is called with; it must be picklable.
        memory_gb: its estimated peak memory.
        cases: how many it stands for in the progress bar, if a worker takes several small ones.
    """

    name: str
    argument: Any
    memory_gb: float
    cases: int = 1


@dataclass
class _Running:
    """A case at work: what its process has sent so far."""

    job: Job
    process: BaseProcess
    messages: Connection
    step: str = "starting"
    failure: str | None = None
    result: Any = None
    is_over: bool = False
    is_cut_off: bool = False

    def take_in(self) -> None:
        """Read what the process has sent since."""
        try:
            while not self.is_cut_off and self.messages.poll():
                kind, text, result = self.messages.recv()
                if kind == STEP:
                    self.step = text
                else:
                    self.failure, self.result, self.is_over = text, result, True
        except (EOFError, OSError):  # it has ended, or been killed
            self.is_cut_off = True

    def end(self, lighter: str) -> str | None:
        """Why the case failed, now that its process has ended; None if it didn't."""
        self.take_in()
        self.process.join()
        self.messages.close()
        return self.failure if self.is_over else _exit_reason(self.process, lighter)


@dataclass
class _Pool:
    """The running processes, and the failures of those that have ended."""

    worker: Worker
    context: BaseContext
    done: Callable[[str, Any], None]
    lighter: str
    running: list[_Running] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def memory_gb(self) -> float:
        return sum(one.job.memory_gb for one in self.running)

    def start(self, job: Job) -> None:
        receiver, sender = self.context.Pipe(duplex=False)
        work = (self.worker, job.argument, sender, self.lighter)
        process = self.context.Process(target=_work, args=work, daemon=True)  # type: ignore[attr-defined]
        with signals_wait(signal.SIGINT, signal.SIGTERM):
            process.start()
            sender.close()
            self.running.append(_Running(job, process, receiver))

    def reap(self) -> int:
        """Wait until a process says something or ends; return the number of cases whose process has ended."""
        pipes = [one.messages for one in self.running if not one.is_cut_off]
        wait([*(one.process.sentinel for one in self.running), *pipes])
        for one in self.running:
            one.take_in()
        ended = [one for one in self.running if not one.process.is_alive()]
        for one in ended:
            failure = one.end(self.lighter)
            if failure is not None:
                self.failures[one.job.name] = failure
            else:
                self.done(one.job.name, one.result)
        self.running = [one for one in self.running if one not in ended]
        return sum(one.job.cases for one in ended)

    def steps(self) -> str:
        """What the first few cases are at, for the progress bar."""
        shown = [f"{one.job.name}: {one.step}" for one in self.running[:SHOWN]]
        return ", ".join([*shown, f"{len(self.running) - SHOWN} more"] if len(self.running) > SHOWN else shown)

    def close(self) -> None:
        """End what still runs: after Ctrl-C or SIGTERM."""
        for one in self.running:
            one.process.terminate()
        for one in self.running:
            one.process.join()


def run_jobs(
    jobs: Sequence[Job],
    worker: Worker,
    *,
    processes: int,
    memory_gb: float,
    done: Callable[[str, Any], None] = lambda name, result: None,
    lighter: str = LIGHTER,
    title: str = "cases",
    scheduler: str = "",
) -> dict[str, str]:
    """Work on all cases; one that fails, crashes or is killed never stops the others.

    Args:
        jobs: the cases; the largest are started first.
        worker: called in a new process with a job's argument and with what tells the step that it is at; an
            ``InputError`` tells why a case can't be done. It ends with this process, however this one ends.
        processes: largest number of processes at a time.
        memory_gb: limit for the sum of their estimates.
        done: is given each case that didn't fail, and what its worker returned.
        lighter: what a user can give where the memory isn't enough.
        title: of the progress bar.
        scheduler: of a dask cluster that works on them instead, see ``cluster.run_on_cluster``.

    Returns:
        The reason for each case that failed.
    """
    if scheduler:
        return run_on_cluster(jobs, worker, scheduler, done=done, lighter=lighter, title=title)
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload([worker.__module__])  # imports take seconds; a forked process has them already
    pool = _Pool(worker, context, done, lighter)
    waiting = sorted(jobs, key=lambda job: -job.memory_gb)
    with closing(pool), progress_bar(total=sum(job.cases for job in jobs), desc=title, unit="case") as bar:
        while waiting or pool.running:
            for job in list(waiting):
                alone = not pool.running and job.memory_gb > memory_gb
                if alone:
                    pool.failures[job.name] = _too_large(job, memory_gb)
                    waiting.remove(job)
                    bar.update(job.cases)
                elif len(pool.running) < processes and pool.memory_gb + job.memory_gb <= memory_gb:
                    pool.start(job)
                    waiting.remove(job)
            bar.set_postfix_str(pool.steps())
            if pool.running:
                bar.update(pool.reap())
    return pool.failures


def machine_memory_gb() -> float:
    """Return the default share of the machine's memory in GiB; 4 if it isn't known."""
    try:
        return DEFAULT_SHARE * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    except (AttributeError, ValueError, OSError):  # Windows
        return 4.0


def _work(worker: Worker, argument: Any, messages: Connection, lighter: str) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # how the parent ends it
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the fork server may have been started by others
    end_with_parent()
    _send(messages, OVER, *attempt(worker, argument, lambda step: _send(messages, STEP, step), lighter))


def attempt(worker: Worker, argument: Any, report: Callable[[str], None], lighter: str) -> tuple[str | None, Any]:
    """Why a case failed, or None, and what its worker returned."""
    try:
        return None, worker(argument, report)
    except InputError as error:
        return " ".join(str(error).split()), None
    except Exception as error:
        return _fault_words(error, lighter), None


def _send(messages: Connection, kind: str, text: str | None, result: Any = None) -> None:
    try:
        messages.send((kind, text, result))
    except OSError:
        os._exit(1)  # the parent is gone


def _fault_words(error: Exception, lighter: str) -> str:
    # SimpleITK has no specific exception for it.
    if isinstance(error, MemoryError) or any(words in str(error) for words in ("allocate memory", "bad_alloc")):
        return f"the memory was not enough; give {lighter}"
    return fault_in_words(error)


def _exit_reason(process: BaseProcess, lighter: str) -> str:
    code = process.exitcode or 0
    if code == -getattr(signal, "SIGKILL", 9):  # Windows has no such signal
        return f"its process was killed (SIGKILL), probably for want of memory; run again with {lighter}"
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
    return f"its process {how} and gave no reason; run again, and report it if it comes again"


def _too_large(job: Job, memory_gb: float) -> str:
    return (
        f"it needs about {job.memory_gb:.1f} GB, the budget is {memory_gb:.1f} GB; give more --memory-gb or a coarser "
        "--spacing"
    )
