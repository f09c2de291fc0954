"""How bad input is reported."""

from __future__ import annotations

import io
import sys

import pytest

from ncct_cta.common.errors import EXIT_BAD_INPUT, InputError, one_line_errors


class Writes(io.StringIO):
    """A stream that keeps each write, as an unbuffered one passes each on to the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def write(self, text: str) -> int:
        self.texts.append(text)
        return super().write(text)


def test_the_line_and_its_end_are_one_write_so_that_processes_do_not_mix_theirs(monkeypatch):
    stream = Writes()
    monkeypatch.setattr(sys, "stderr", stream)
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        raise InputError("spacing is 0 mm,\n  expected more; set data.spacing")
    assert stopped.value.code == EXIT_BAD_INPUT
    assert stream.texts == ["error: spacing is 0 mm, expected more; set data.spacing\n"]
