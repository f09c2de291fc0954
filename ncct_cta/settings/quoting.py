"""A user's words in MONAI's configuration language: quoted, so that they are data and nothing of them is interpreted.

MONAI's parser evaluates a text that starts with ``$``, looks up what follows an ``@``, copies what a ``%`` names, turns
every ``#`` into ``::``, and instantiates a mapping with ``_target_``. A quoted value is an expression of one Python
literal, with every other character escaped: it evaluates to the value, and can be read back without evaluating.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

# Arguments of MONAI's own workflows: files of wiring and names in it, which are code in any case.
WORKFLOW_ARGUMENTS = frozenset(
    ["meta_file", "logging_file", "init_id", "run_id", "final_id", "tracking", "workflow_type", "properties_path"]
)
PREFIX = "$"
SPECIAL = frozenset("$@%#")
PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./ ")


def quoted(value: Any) -> Any:
    r"""Return what MONAI's parser must be given for it to arrive at ``value``.

    >>> quoted("runs/g"), quoted("run #2"), quoted([1, 2])
    ('runs/g', "$'run \\x232'", [1, 2])

    Args:
        value: plain data: texts, numbers, lists; mappings come from ``model.arguments``.
    """
    if isinstance(value, str):
        return f"{PREFIX}{_literal(value)}" if SPECIAL & set(value) or "::" in value else value
    if isinstance(value, Mapping):
        return f"{PREFIX}{_literal(value)}" if value else {}
    if isinstance(value, (list, tuple)):
        return [quoted(item) for item in value]
    return value


def unquoted(value: Any) -> Any:
    """Undo ``quoted`` without evaluating anything; what ``quoted`` didn't write is returned as it is."""
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    if not (isinstance(value, str) and value.startswith(PREFIX)):
        return value
    try:
        found = ast.literal_eval(value.removeprefix(PREFIX))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return found if quoted(found) == value else value


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + "".join(letter if letter in PLAIN else _escape(ord(letter)) for letter in value) + "'"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return repr(value)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
