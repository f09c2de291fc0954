"""Imports go down only: a part of the package never imports one of a higher floor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ncct_cta

PACKAGE = Path(ncct_cta.__file__).parent
FLOORS = (
    "common",
    "settings dicom phantom",
    "networks metrics volumes",
    "losses transforms",
    "data inferers",
    "runs",
    "engines handlers",
    "train infer export",
    "evaluate prepare features",
    "demo pack api view compare",
    "__main__",
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names.split()}


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
    for other in set(imported(path)) - {own, "__version__"}:
        assert FLOOR[other] < FLOOR[own], f"{own} imports {other}, which isn't below it"


def test_every_room_has_its_floor() -> None:
    assert {part(path) for path in MODULES} == set(FLOOR)


def test_no_module_lies_loose() -> None:
    assert {path.name for path in PACKAGE.iterdir() if path.is_file()} <= {"__init__.py", "__main__.py", "py.typed"}
