"""What docs/errors.md quotes is what the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import ncct_cta
from ncct_cta.common.errors import EXIT_BAD_INPUT, EXIT_SOME_FAILED

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")


def said() -> str:
    """All texts in the code: those that stand in pieces are joined, as Python joins them."""
    texts = []
    for path in Path(ncct_cta.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_every_message_of_the_glossary_is_in_the_code() -> None:
    quoted = re.findall(r"^\| `([^`]+)` \|", PAGE, flags=re.MULTILINE)
    texts = said()
    assert len(quoted) > 30
    assert [message for message in quoted if message not in texts] == []


def test_no_message_stands_twice() -> None:
    quoted = re.findall(r"^\| `([^`]+)` \|", PAGE, flags=re.MULTILINE)
    assert len(set(quoted)) == len(quoted)


def test_the_exit_statuses_are_the_codes() -> None:
    listed = re.findall(r"^\| ([\d, ]+) \|", PAGE, flags=re.MULTILINE)
    assert listed == ["0", str(EXIT_BAD_INPUT), str(EXIT_SOME_FAILED), "130, 143"]
