from __future__ import annotations

import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.common.names import LONGEST_NAME_BYTES, require_file_name, shortened


@pytest.mark.parametrize("name", ["a", "P 003", "Jürgen", "鈴木", "a.b", "x" * LONGEST_NAME_BYTES])
def test_a_name_may_hold_any_letters(name: str) -> None:
    require_file_name(name, "case")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "C:evil", "a/b", "a\\b", "a\0b", "a\nb", "\x1b[2J", "\ud800", "é" * 150]
)
def test_a_name_that_no_file_can_have_is_refused_in_a_short_line_that_prints(name: str) -> None:
    with pytest.raises(InputError, match=r"^list\.json: the case") as refused:
        require_file_name(name, "list.json: the case")
    message = str(refused.value)
    assert message.isprintable()
    assert len(message) < 250
    message.encode()


def test_a_short_text_stays_whole() -> None:
    assert shortened("a name") == "a name"
    assert len(shortened("x" * 1000)) == 120
