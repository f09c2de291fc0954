"""Cases worked on by a dask cluster that is there already, wherever its workers are."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from .cluster_task import PACKAGE, work_there
from .errors import InputError
from .progress import progress_bar

if TYPE_CHECKING:
    from distributed import Client

    from .bulk import Job, Worker

logger = logging.getLogger(__name__)

MEMORY = "memory_gb"  # the resource of a dask worker that cases ask for, as far as workers declare it
CONNECT_SECONDS = 30
GB = 1e9
MORE_MEMORY = "workers with more memory"


def run_on_cluster(
    jobs: Sequence[Job],
    worker: Worker,
    scheduler: str,
    *,
    done: Callable[[str, Any], None],
    lighter: str = "",
    title: str = "cases",
    said: set[str] | None = None,
) -> dict[str, str]:
    """Work on all cases as ``bulk.run_jobs`` does, by the workers of a dask scheduler.

    Which worker takes which case, what happens when one dies and when one joins is dask's. The memory budget is what
    its workers declare: ``--resources memory_gb=N``, or the memory limit of each where it has one thread. What a worker
    logs is logged here too, no line twice: each loads the same model, and warns of it.

    Args:
        jobs: the cases.
        worker: a module's function, see ``bulk.run_jobs``; its package must be installed on the workers.
        scheduler: its address, such as ``tcp://login1:8786``.
        done: is given each case that didn't fail, and what its worker returned.
        lighter: what a user can give where the memory isn't enough, beside workers that have more.
        title: of the progress bar, which a single job has not.
        said: the lines logged, for a command that runs several times; one that is in it already isn't logged again.

    Returns:
        The reason for each case that failed.

    Raises:
        InputError: if there is no such scheduler, or its workers don't say what memory a case may take.
    """
    remedy = " or ".join(each for each in (lighter, MORE_MEMORY) if each)
    shown: dict[str, Any] = {"total": len(jobs), "desc": title, "unit": "case", "shown": len(jobs) > 1}
    with closing(_connected(scheduler)) as client, progress_bar(**shown) as bar:
        most = max(_budgets(client).values())
        declared = any(MEMORY in worker["resources"] for worker in _workers(client).values())
        failures = {job.name: _too_large(job, most, remedy) for job in jobs if job.memory_gb > most}
        bar.update(len(failures))
        futures = {_submitted(client, job, worker, remedy, declared): job for job in jobs if job.name not in failures}
        lines = set() if said is None else said
        try:
            for job, failure, result, records in _outcomes(client, futures, remedy):
                _say(records, lines)
                if failure is None:
                    done(job.name, result)
                else:
                    failures[job.name] = failure
                bar.update()
        finally:
            client.cancel(list(futures))  # after Ctrl-C: what hasn't begun never will
    return failures


def _outcomes(
    client: Client, futures: dict[Any, Job], remedy: str
) -> Iterator[tuple[Job, str | None, Any, Iterable[logging.LogRecord]]]:
    """Each case once it is over, taken out of ``futures``: its failure or None, its result, and what it logged."""
    from distributed import as_completed

    for future in as_completed(list(futures), loop=client.loop):
        job = futures.pop(future)
        error = future.exception()
        failure, result, records = (_death(error, remedy), None, ()) if error is not None else future.result()
        future.release()  # or it would be computed again where its worker ends later
        yield job, failure, result, records


def _say(records: Iterable[logging.LogRecord], said: set[str]) -> None:
    """Log what a worker has logged, but for the lines in ``said``, which it joins."""
    for record in records:
        target = logging.getLogger(record.name)
        if record.getMessage() not in said and target.isEnabledFor(record.levelno):
            target.handle(record)
        said.add(record.getMessage())


def _connected(scheduler: str) -> Client:
    if importlib.util.find_spec("distributed") is None:
        raise InputError(f"--scheduler {scheduler}: dask isn't installed; pip install 'ncct-cta[dask]'")
    from distributed import Client

    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"--scheduler {scheduler}: no dask scheduler answers ({reason}); give the address that it printed, such as "
            "tcp://HOST:8786"
        ) from error
    if not _workers(client):
        logger.info("%s has no workers yet: waiting for the first", scheduler)
        client.wait_for_workers(1)
    return client


def _workers(client: Client) -> Mapping[str, Any]:
    return client.scheduler_info(n_workers=-1)["workers"]


def _budgets(client: Client) -> dict[str, float]:
    """The memory in GB that each worker has for a case."""
    budgets = {}
    for address, worker in _workers(client).items():
        declared = worker["resources"].get(MEMORY)
        if declared is None and worker["nthreads"] > 1:
            raise InputError(
                f"the worker {address} takes {worker['nthreads']} cases at a time and doesn't say what memory they may "
                f"take together; start workers with --nthreads 1, or with --resources {MEMORY}=N"
            )
        limit = worker["memory_limit"] / GB if worker["memory_limit"] else float("inf")
        budgets[address] = limit if declared is None else declared
    return budgets


def _submitted(client: Client, job: Job, worker: Worker, remedy: str, declared: bool) -> Any:
    """Hand over a case, which asks for its memory where the workers have ``declared`` theirs."""
    return client.submit(
        work_there,
        worker,
        job.argument,
        os.getcwd(),
        remedy,
        logging.getLogger(PACKAGE).getEffectiveLevel(),
        pure=False,  # each writes files
        resources={MEMORY: job.memory_gb} if declared else None,
    )


def _death(error: BaseException, remedy: str) -> str:
    if type(error).__name__ == "KilledWorker":
        return f"the workers that took it ended, probably for want of memory; run again with {remedy}"
    return f"the cluster couldn't run it ({type(error).__name__}); see its workers' logs"


def _too_large(job: Job, most: float, remedy: str) -> str:
    return f"it needs about {job.memory_gb:.1f} GB, the largest worker has {most:.1f} GB; give {remedy}"
