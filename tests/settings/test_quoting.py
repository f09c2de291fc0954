"""A user's words reach MONAI's parser as data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from ncct_cta.settings.quoting import quoted, unquoted

TEXTS = st.text(alphabet=st.characters(codec="utf-8"), max_size=12) | st.text("$@%#:'\\{}import os_", max_size=20)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["_target_", "a", "$b"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(VALUES)
def test_monais_parser_arrives_at_the_value(value: object) -> None:
    parser = ConfigParser({"other": 1})
    parser["given"] = {"value": quoted(value)}
    assert parser.get_parsed_content("given")["value"] == value


@given(VALUES)
def test_it_is_read_back_without_evaluating(value: object) -> None:
    assert unquoted(quoted(value)) == value


@pytest.mark.parametrize("text", ["$HOME/x", "$__import__('os').getcwd()", "$'a'", "${}", "$" + "(" * 5000])
def test_what_was_not_quoted_here_is_left_as_it_is(text: str) -> None:
    assert unquoted(text) == text


def test_plain_words_stay_readable() -> None:
    assert quoted("runs/my G, 2nd (old).pt") == "runs/my G, 2nd (old).pt"
