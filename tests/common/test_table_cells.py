"""Tables that a spreadsheet opens: a name in a cell is text, whatever it starts with."""

from __future__ import annotations

import csv
import io

import pytest

from ncct_cta.common.files import no_formula, table_text, without_apostrophe

FORMULAS = ["=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\t=1+1", " =1+1", "'=1+1", "''-x", "-", "+"]
PLAIN = ["Doe^Jane", "-0.5", "+1e-3", "3", "", "'quoted'", "-inf", "a=b", "’=1"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_never_starts_a_formula(cell: str) -> None:
    (row,) = csv.DictReader(io.StringIO(table_text([{"name": cell}], ["name"])))
    assert row["name"] == f"'{cell}"


@pytest.mark.parametrize("cell", [*PLAIN, -0.5, None, float("-inf")])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert no_formula(cell) == cell


@pytest.mark.parametrize("cell", FORMULAS + PLAIN)
def test_the_apostrophe_comes_off_again(cell: str) -> None:
    assert without_apostrophe(str(no_formula(cell))) == cell
