"""A training that Ctrl-C or SIGTERM stops: one line that says how to go on, and nothing left beside the run's files."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

import ncct_cta.train.workflow  # noqa: F401, MONAI's loggers keep the stderr of their first import
from ncct_cta.runs.names import LAST
from ncct_cta.train.command import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals to the own process")


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Send a signal in the middle of a step."""

    def arm(step: int, number: int) -> None:
        taken: list[int] = []
        real = torch.optim.AdamW.step

        def counting(self: torch.optim.AdamW, closure: None = None) -> object:
            taken.append(1)
            if len(taken) == step:
                os.kill(os.getpid(), number)
            return real(self, closure)

        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a background job
        monkeypatch.setattr(torch.optim.AdamW, "step", counting)

    return arm


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_says_from_which_epoch_it_goes_on(
    number: int, status: int, workers: int, cohort: Path, tiny_settings, tmp_path: Path, stop_at, capfd
) -> None:
    words = ["g", *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "run")]
    words += ["--num_epochs", "3", "--data::num_workers", str(workers)]
    stop_at(5, number)
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == status
    said = capfd.readouterr().err
    last = tmp_path / "run" / LAST
    assert said.splitlines()[-1] == f"stopped by {NAMES[number]}: --resume goes on with epoch 3, from {last}"
    assert "Traceback" not in said
    assert "terminating" not in said  # Ignite's two lines
    assert not [path.name for path in (tmp_path / "run").rglob(".*") if path.name != ".lock"]
    assert not active_children()
    main([*words, "--resume"])
    assert not active_children()
    assert torch.load(last, weights_only=True)["trainer"]["epoch"] == 3


NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


def _end_workers_first(number: int) -> None:
    """As a job manager does that signals a group: a loading process is gone before this one has heard anything."""
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
    _send(number, active_children())
    time.sleep(0.8)


def _send(number: int, processes: list[BaseProcess]) -> None:
    """From outside: to its parent's SIGTERM PyTorch's worker ends with status 0."""
    subprocess.run(["kill", f"-{number:d}", *(str(process.pid) for process in processes)], check=True)


def _end_workers_last(number: int) -> None:
    workers = active_children()
    try:
        os.kill(os.getpid(), number)
    finally:
        _send(number, workers)
        time.sleep(0.3)


@pytest.mark.parametrize("stop", [_end_workers_first, _end_workers_last])
def test_a_signal_for_its_workers_too_is_the_same_line(
    stop: Callable[[int], None], cohort: Path, tiny_settings, tmp_path: Path, monkeypatch, capfd
) -> None:
    real = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, closure=None: (stop(signal.SIGTERM), real(self)))
    words = ["g", *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--data::num_workers", "2"])
    assert stopped.value.code == 143
    said = capfd.readouterr().err
    assert said.splitlines()[-1].startswith("stopped by SIGTERM: no epoch was finished")
    assert "Traceback" not in said


def test_a_worker_that_is_killed_is_one_line(cohort: Path, tiny_settings, tmp_path: Path, monkeypatch, capfd) -> None:
    def kill_one(self: torch.optim.AdamW, closure: None = None) -> None:
        os.kill(active_children()[0].pid, signal.SIGKILL)
        time.sleep(2)

    monkeypatch.setattr(torch.optim.AdamW, "step", kill_one)
    words = ["g", *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--data::num_workers", "2"])
    assert stopped.value.code == 2
    said = capfd.readouterr().err
    assert re.search(r"^error: a process that loads data has ended \(.* is killed by signal: Killed\)", said, re.M)
    assert said.splitlines()[-1].endswith("lower data.num_workers and go on with --resume")
    assert "Traceback" not in said


def test_before_the_first_epoch_is_done_there_is_nothing_to_go_on_from(
    cohort: Path, tiny_settings, tmp_path: Path, stop_at, capsys
) -> None:
    stop_at(1, signal.SIGTERM)
    with pytest.raises(SystemExit):
        main(["g", *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "run")])
    assert f"no epoch was finished in {tmp_path / 'run'}; run the same command again" in capsys.readouterr().err


def test_bad_input_during_the_training_is_one_line(
    cohort: Path, tiny_settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from ncct_cta.common.errors import InputError
    from ncct_cta.handlers import CheckpointHandler

    def refuse(self: CheckpointHandler, engine: object) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr(CheckpointHandler, "__call__", refuse)
    with pytest.raises(SystemExit):
        main(["g", *tiny_settings, "--data::datalist", str(cohort), "--train::output_dir", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "error: the disk is full"
    assert said.count("the disk is full") == 1
