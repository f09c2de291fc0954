"""A line on a terminal is a line, whatever a stranger's name holds."""

from __future__ import annotations

import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.common.names import require_file_name
from ncct_cta.common.terminal import say

UNPRINTABLE = ["a\x1b]0;title\x07", "a\x9b2J", "a\u202egnp.exe", "a\u2028b", "a\udcff"]


@pytest.mark.parametrize("text", UNPRINTABLE)
def test_nothing_in_a_line_rewrites_the_terminal(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(f"error: {text}")
    line = capsys.readouterr().err
    assert line.startswith(("error: a?", "error: a b"))
    assert line.removesuffix("\n").isprintable()


@pytest.mark.parametrize("name", UNPRINTABLE)
def test_no_file_is_called_so(name: str) -> None:
    with pytest.raises(InputError, match="can't name an output file"):
        require_file_name(name, "the case")
