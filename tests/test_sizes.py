"""The sizes that keep the house readable."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ncct_cta
from ncct_cta.settings.places import bundle_config

MODULES = sorted(Path(ncct_cta.__file__).parent.rglob("*.py"))
LONGEST_FUNCTION, LONGEST_MODULE, LONGEST_WIRING = 40, 250, 170


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a module, and the lines of its body without the docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            yield node.name, body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    assert {name: lines for name, lines in functions(path) if lines > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_module_holds_more_than_one_thing_can_need(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def test_the_wiring_of_a_training_can_be_read_at_one_go() -> None:
    assert len(Path(bundle_config("train.yaml")).read_text(encoding="utf-8").splitlines()) <= LONGEST_WIRING
