"""How bad input is reported."""

from __future__ import annotations

import io
import sys

import pytest
import torch

from ncct_cta.common.errors import EXIT_BAD_INPUT, InputError, SomeFailed, one_line_errors
from ncct_cta.common.precision import resolve_device


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


def test_failed_cases_have_an_exit_status_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    for error, status in ((InputError("no such file"), 2), (SomeFailed("1 of 2 cases failed"), 3)):
        with pytest.raises(SystemExit) as ended, one_line_errors():
            raise error
        assert ended.value.code == status
        assert capsys.readouterr().err == f"error: {error}\n"


def test_apples_gpu_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="device is 'mps', Apple's GPU, which isn't there"):
        resolve_device("mps")
