"""Imports go down only: a part of the package never imports one of a higher floor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ncct_cta

PACKAGE = Path(ncct_cta.__file__).parent
FLOORS = (
    "hu keys errors files paths section config debug precision pseudonyms term_mean loading",
    "networks losses gan_losses metrics previews",
    "data dicom inferers",
    "engines handlers",
    "components training_run trained workflow preparation evaluation",
    "demo_report train infer evaluate prepare phantom demo",
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names.split()}
# Commands and workflows build on each other within their floor; below it parts are apart.
APART = ({"networks", "metrics"}, {"engines", "handlers"}, {"preparation", "evaluation"})


def part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(path: Path) -> Iterator[str]:
    """The parts of the package that a module imports."""
    package = path.relative_to(PACKAGE.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = package[: len(package) - node.level + 1] if node.level else ()
        names = (*base, *(node.module or "").split("."))
        full = [name for name in names if name]
        if full[:1] == ["ncct_cta"]:
            yield from full[1:2] or [alias.name for alias in node.names]


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    own = part(path)
    for other in set(imported(path)) - {own}:
        assert FLOOR[other] <= FLOOR[own], f"{own} imports {other}, a floor above it"
        assert not any({own, other} <= pair for pair in APART), f"{own} and {other} meet in the engine's state only"


def test_every_part_has_its_floor() -> None:
    assert {part(path) for path in MODULES} == set(FLOOR)
