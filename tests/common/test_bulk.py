"""Bulk: cases side by side, and none that stops another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tqdm import tqdm

from ncct_cta.common.bulk import Job, machine_memory_gb, run_jobs
from ncct_cta.common.errors import InputError


def work(argument: tuple[str, Path], report: Callable[[str], None]) -> None:
    """What a job does, by its name: it fails, has a fault, lacks memory, is killed, never ends, or leaves a file."""
    what, folder = argument
    if what == "bad":
        raise InputError("the scan is bad; give a good one")
    if what == "fault":
        raise RuntimeError(f"secret {folder}")
    if what == "array":
        raise MemoryError
    if what == "image":
        raise RuntimeError("Exception thrown in SimpleITK new_Image:\nFailed to allocate memory for image.")
    if what == "exit":
        os._exit(7)
    if what.startswith("step"):
        report("registering")
        while not (folder / "seen").exists():
            time.sleep(0.01)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "endless":
        is_deaf = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        (folder / ".endless").write_text(f"{os.getpid()} {is_deaf}")
        (folder / ".endless").rename(folder / "endless")
        time.sleep(60)
    if what.startswith("meet"):
        meet(folder, what)
    else:
        (folder / what).touch()


def meet(folder: Path, name: str) -> None:
    """Note whether another one is at work at the same time; one that is alone waits a moment for it."""
    (folder / f"{name}.running").touch()
    end = time.monotonic() + (20 if "patiently" in name else 0.3)
    while not (met := len(list(folder.glob("*.running"))) > 1) and time.monotonic() < end:
        time.sleep(0.01)
    (folder / f"{name}.met").write_text(str(met))
    time.sleep(0.1)
    (folder / f"{name}.running").unlink()


def run(names: list[str], folder: Path, *, processes: int = 2, memory_gb: float = 10.0) -> dict[str, str]:
    return run_jobs([Job(name, (name, folder), 3.0) for name in names], work, processes=processes, memory_gb=memory_gb)


def test_one_bad_case_never_stops_the_others(tmp_path: Path) -> None:
    failures = run(["bad", "a", "fault", "killed", "b"], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    assert failures.keys() == {"bad", "fault", "killed"}
    assert failures["bad"] == "the scan is bad; give a good one"
    assert "SIGKILL" in failures["killed"]
    assert "--jobs" in failures["killed"]


def test_memory_is_blamed_for_no_other_end_of_a_process(tmp_path: Path) -> None:
    expected = "its process ended with exit status 7 and gave no reason; run again, and report it if it comes again"
    assert run(["exit"], tmp_path) == {"exit": expected}


def test_the_bar_names_the_case_and_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def show(bar: tqdm, text: str) -> None:
        shown.append(text)
        if text == "step a: registering":
            (tmp_path / "seen").touch()

    monkeypatch.setattr(tqdm, "set_postfix_str", show)
    assert not run(["step a"], tmp_path)
    assert shown[:2] == ["step a: starting", "step a: registering"]


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_bulk import run
if __name__ == "__main__":
    run(["endless"], Path({folder!r}))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_ends_with_its_parent_however_that_ends(tmp_path: Path, number: int) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (tmp_path / "endless").exists() and time.monotonic() < end:
        time.sleep(0.02)
    worker = int((tmp_path / "endless").read_text().split()[0])
    parent.send_signal(number)
    parent.wait(30)
    end = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_a_fault_is_named_without_what_it_says(tmp_path: Path) -> None:
    # The text of an unknown error may hold a path, and that a patient's name.
    failure = run(["fault"], tmp_path)["fault"]
    assert "RuntimeError in test_bulk.py, line" in failure
    assert "secret" not in failure


def test_want_of_memory_is_the_cases_failure_with_a_remedy(tmp_path: Path) -> None:
    remedy = "the memory was not enough; give fewer --jobs or a coarser --spacing"
    assert run(["array", "image", "a"], tmp_path) == {"array": remedy, "image": remedy}


@pytest.mark.parametrize(("how", "memory_gb", "met"), [("patiently", 10.0, "True"), ("shortly", 5.0, "False")])
def test_the_memory_says_how_many_run_together(tmp_path: Path, how: str, memory_gb: float, met: str) -> None:
    assert not run([f"meet {how} a", f"meet {how} b"], tmp_path, memory_gb=memory_gb)
    assert [path.read_text() for path in tmp_path.glob("*.met")] == [met] * 2


def test_a_case_beyond_the_budget_says_so(tmp_path: Path) -> None:
    assert "needs about 3.0 GB, the budget is 2.0 GB; give more --memory-gb" in run(["a"], tmp_path, memory_gb=2)["a"]


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """As in a terminal; a shell's background job ignores Ctrl-C, and so do the tests that it runs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
def test_an_interrupt_is_for_the_parent_which_ends_the_others(tmp_path: Path) -> None:
    def interrupt() -> None:
        while not (tmp_path / "endless").exists() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    end = time.monotonic() + 30
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run(["endless"], tmp_path)
    pid, is_deaf = (tmp_path / "endless").read_text().split()
    assert is_deaf == "True"  # a terminal's Ctrl-C goes to all processes, and each would print a traceback
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_the_default_budget_is_a_part_of_the_machine() -> None:
    assert 0.1 < machine_memory_gb() < 10_000


def returns(argument: str, report: Callable[[str], None]) -> str:
    if argument == "bad":
        raise InputError("bad")
    return f"result of {argument}"


def test_what_a_worker_returns_is_handed_over() -> None:
    results: dict[str, str] = {}
    jobs = [Job(name, name, 1.0) for name in ("a", "bad", "b")]
    failures = run_jobs(jobs, returns, processes=2, memory_gb=4.0, done=results.__setitem__)
    assert results == {"a": "result of a", "b": "result of b"}
    assert failures == {"bad": "bad"}
