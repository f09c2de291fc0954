from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tqdm import tqdm

from ncct_cta.common import interrupts
from ncct_cta.common.errors import one_line_errors
from ncct_cta.common.files import written_whole
from ncct_cta.common.interrupts import Terminated, one_line_interrupts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals to the own process")
HANDLERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> None:
    """Ctrl-C is ignored in a background job, and the tests may run in one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def stopped_by(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "status", "name"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_signal_is_one_line_and_the_shells_status(
    number: int, status: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(each) for each in HANDLERS]
    with pytest.raises(SystemExit) as stop, one_line_errors():
        stopped_by(number)
    assert stop.value.code == status
    assert capsys.readouterr().err == f"stopped by {name}: run the same command again\n"
    assert [signal.getsignal(each) for each in HANDLERS] == before


def test_the_innermost_speaks_and_is_asked_only_then(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def remedy() -> str:
        asked.append("once")
        return "go on with epoch 3"

    with one_line_interrupts(remedy):
        pass
    assert not asked
    with pytest.raises(SystemExit), one_line_errors(), one_line_interrupts(remedy):
        stopped_by(signal.SIGTERM)
    assert capsys.readouterr().err == "stopped by SIGTERM: go on with epoch 3\n"


def test_a_second_signal_does_not_break_off_the_tidying_up(tmp_path: Path) -> None:
    def write(then: Callable[[], None]) -> None:
        with written_whole(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            try:
                stopped_by(signal.SIGTERM)
            finally:
                then()

    with pytest.raises(SystemExit) as stop, one_line_errors():
        write(lambda: stopped_by(signal.SIGINT))
    assert stop.value.code == 143
    assert not list(tmp_path.iterdir())


def test_a_tidying_up_that_takes_long_can_be_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "SECONDS_TO_TIDY_UP", 0.0)

    @one_line_errors()
    def tidy_up_too_long() -> None:
        try:
            stopped_by(signal.SIGTERM)
        finally:
            stopped_by(signal.SIGINT)

    with pytest.raises(SystemExit) as stop:
        tidy_up_too_long()
    assert stop.value.code == 130


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_within_a_destructor_is_not_lost(number: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    class Closed:
        def __del__(self) -> None:
            stopped_by(number)

    def work() -> None:
        Closed()
        time.sleep(5)

    hook = sys.unraisablehook
    with pytest.raises(SystemExit) as stop, one_line_interrupts():
        work()
    assert stop.value.code == status
    assert capsys.readouterr().err.count("\n") == 1
    assert sys.unraisablehook is hook


def test_another_error_within_a_destructor_is_shown_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def __del__(self) -> None:
            raise ValueError("broken")

    shown: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: shown.append(unraisable.exc_value))
    with one_line_interrupts():
        Closed()
    assert [str(error) for error in shown] == ["broken"]


def test_a_signal_that_is_ignored_stays_so(capsys: pytest.CaptureFixture[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with one_line_errors():
        stopped_by(signal.SIGINT)
    assert capsys.readouterr().err == ""


def test_the_line_stands_below_the_progress_bars(capsys: pytest.CaptureFixture[str]) -> None:
    @one_line_errors()
    def count() -> None:
        for _ in tqdm(range(3)):
            stopped_by(signal.SIGINT)

    with pytest.raises(SystemExit):
        count()
    assert capsys.readouterr().err.splitlines()[-1] == "stopped by Ctrl-C: run the same command again"


@pytest.mark.parametrize(("interrupt", "status"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_import_that_was_broken_off_is_an_interrupt(interrupt: type[BaseException], status: int, capsys) -> None:
    @one_line_interrupts("go on")
    def locate() -> None:
        try:
            raise interrupt
        except BaseException as error:  # as pydoc.locate does, with which MONAI finds classes
            raise ImportError("problem in a module") from error

    with pytest.raises(SystemExit) as stopped:
        locate()
    assert stopped.value.code == status
    assert capsys.readouterr().err.endswith("go on\n")


def test_an_error_without_an_interrupt_behind_it_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="odd"), one_line_interrupts():
        raise ValueError("odd")
