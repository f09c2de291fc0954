"""Settings files are data: nothing in one is executed, and none hangs or ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.settings.yaml_file import read_yaml

BOMB = "a0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xff\xfe\x00", "not UTF-8 text"),
        (b"a: {b: 1}\na: {c: 2}", "Duplicate key: `a`"),
        (b"train: {lr: 1, lr: 2}", "Duplicate key: `lr`"),
        (b"1: 2", "expected sections of settings"),
        (b"- a", "expected sections of settings"),
        (b"a: [1", "line"),
        (b"a: " + b"[" * 5000, "nested|nesting"),
        (b"a: " + b"[" * 500 + b"]" * 500 + b"]", "line|nest"),
        (BOMB.encode(), "its aliases unfold to more than"),
        (b"a: &a [*a]", "its aliases unfold to more than"),
        (b"a: 2020-99-99", "month must be in 1..12"),
        (b"a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        (b"x" * 2**21, "expected a settings file of at most"),
        (b"\x00", "special characters|control characters"),
    ],
)
def test_what_is_no_settings_file_is_one_line(content: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_bytes(content)
    with pytest.raises(InputError, match=problem) as caught:
        read_yaml(tmp_path / "given.yaml")
    assert len(str(caught.value)) - len(str(tmp_path)) <= 300
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there\.yaml: can't be read"):
        read_yaml(tmp_path / "there.yaml")


def test_aliases_that_do_not_multiply_are_read(tmp_path: Path) -> None:
    (tmp_path / "given.yaml").write_text("a: &window [1, 2]\nb: *window\n")
    assert read_yaml(tmp_path / "given.yaml") == {"a": [1, 2], "b": [1, 2]}
