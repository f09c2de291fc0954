"""Cases on a dask cluster: the same failures and results as on one machine, within the workers' memory."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ncct_cta.common import cluster as module
from ncct_cta.common.bulk import Job, run_jobs
from ncct_cta.common.errors import InputError


def work(argument: tuple[str, str], report: Callable[[str], None]) -> str:
    """What a job does, by its name: it fails, has a fault, dies, or leaves a file at a relative path."""
    what, folder = argument
    logging.getLogger("ncct_cta.work").warning("a line of all")
    logging.getLogger("ncct_cta.work").info("%s is at work", what)
    report("working")
    if what == "bad":
        raise InputError("the scan is bad; give a good one")
    if what == "fault":
        raise RuntimeError(f"secret {folder}")
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    Path(folder, what).touch()
    return f"result of {what}"


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    """A cluster of one process, which a case's death ends for good."""
    distributed = pytest.importorskip("distributed")
    import dask

    options = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.memory.terminate": False}
    with (
        dask.config.set(options),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit="4GB"
        ) as local,
    ):
        yield local


def run(names: list[str], scheduler: str, results: dict[str, Any], memory_gb: float = 3.0) -> dict[str, str]:
    jobs = [Job(name, (name, "."), memory_gb) for name in names]
    return run_jobs(jobs, work, processes=1, memory_gb=1.0, scheduler=scheduler, done=results.__setitem__)


def test_one_bad_case_never_stops_the_others(started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    results: dict[str, Any] = {}
    failures = run(["bad", "a", "fault", "b"], started.scheduler_address, results)
    assert results == {"a": "result of a", "b": "result of b"}
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    assert failures.keys() == {"bad", "fault"}
    assert failures["bad"] == "the scan is bad; give a good one"
    assert "RuntimeError in test_cluster.py" in failures["fault"]
    assert "secret" not in failures["fault"]


@pytest.mark.parametrize(
    ("level", "expected"),
    [(logging.WARNING, ["a line of all"]), (logging.INFO, ["a is at work", "a line of all", "b is at work"])],
)
def test_what_workers_log_is_logged_here_as_far_as_wanted_and_once(
    started, tmp_path, monkeypatch, caplog, level, expected
):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(level, "ncct_cta"):
        run(["a", "b"], started.scheduler_address, {})
    lines = [record.getMessage() for record in caplog.records if record.name == "ncct_cta.work"]
    assert sorted(lines) == expected


def test_a_case_that_kills_its_worker_says_so_and_others_go_on(started, tmp_path, monkeypatch):
    """By itself: what waits at the same worker, or has just left it, may be given up with it."""
    monkeypatch.chdir(tmp_path)
    failures = run(["killed"], started.scheduler_address, {})
    assert failures["killed"].endswith(
        "; run again with fewer --jobs or a coarser --spacing or workers with more memory"
    )
    results: dict[str, Any] = {}
    assert not run(["a"], started.scheduler_address, results)
    assert results == {"a": "result of a"}


def test_a_case_that_no_worker_has_memory_for_says_so(started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failures = run(["a"], started.scheduler_address, {}, memory_gb=5.0)
    assert "it needs about 5.0 GB, the largest worker has 4.0 GB" in failures["a"]
    assert not list(tmp_path.iterdir())


class FakeClient:
    def __init__(self, **worker: Any) -> None:
        self.worker = {"resources": {}, "nthreads": 1, "memory_limit": int(8e9), **worker}

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {"tcp://w:1": self.worker}}


@pytest.mark.parametrize(
    ("worker", "budget"),
    [({}, 8.0), ({"nthreads": 4, "resources": {"memory_gb": 16.0}}, 16.0), ({"memory_limit": 0}, float("inf"))],
)
def test_the_workers_say_what_memory_there_is(worker, budget):
    assert module._budgets(FakeClient(**worker)) == {"tcp://w:1": budget}


def test_cases_side_by_side_in_a_worker_need_a_budget_for_all():
    with pytest.raises(InputError, match=r"tcp://w:1 takes 4 cases .* start workers with --nthreads 1, or with --res"):
        module._budgets(FakeClient(nthreads=4))


def test_a_scheduler_that_isnt_there_is_named(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=r"--scheduler tcp://127\.0\.0\.1:9: no dask scheduler answers"):
        run(["a"], "tcp://127.0.0.1:9", {})
    with pytest.raises(InputError, match=r"--scheduler nonsense://x: no dask scheduler answers"):
        run(["a"], "nonsense://x", {})


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'ncct-cta\[dask\]'"):
        run(["a"], "tcp://127.0.0.1:9", {})
