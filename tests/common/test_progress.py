"""Progress bars: on a terminal, and neither in a redirected log nor with ``--quiet``."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from ncct_cta.common.command_line import command_parser
from ncct_cta.common.errors import one_line_errors
from ncct_cta.common.progress import console_level, is_quiet, progress_bar, quiet_console


class Screen(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def drawn(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, shown: bool = True) -> str:
    screen = Screen(terminal=terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    assert list(progress_bar(range(3), shown=shown, desc="volumes")) == [0, 1, 2]
    return screen.getvalue()


def test_a_bar_is_drawn_on_a_terminal_and_not_into_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "volumes" in drawn(monkeypatch, terminal=True)
    assert drawn(monkeypatch, terminal=False) == ""
    assert drawn(monkeypatch, terminal=True, shown=False) == ""


def test_quiet_takes_the_bars_and_the_news_and_ends_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    @one_line_errors()
    def command() -> None:
        command_parser("infer", "``infer``: synthesise").parse_args(["--quiet"])
        assert drawn(monkeypatch, terminal=True) == ""
        assert console_level() == logging.WARNING

    assert console_level() == logging.INFO
    command()
    assert not is_quiet()
    assert "volumes" in drawn(monkeypatch, terminal=True)


def test_quiet_leaves_log_files_whole() -> None:
    screen, file = logging.StreamHandler(sys.stdout), logging.StreamHandler(io.StringIO())

    @one_line_errors()
    def command() -> None:
        command_parser("train", "``train``: train").parse_args(["--quiet"])
        for handler in (screen, file):
            logging.getLogger().addHandler(handler)
        quiet_console()

    command()
    assert (screen.level, file.level) == (logging.WARNING, logging.NOTSET)
