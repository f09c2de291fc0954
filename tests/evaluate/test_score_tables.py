from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from ncct_cta.data import Case
from ncct_cta.evaluate.results import DEFAULT_WINDOW, Evaluation, Method
from ncct_cta.evaluate.score_files import format_table, write_tables
from ncct_cta.evaluate.statistics import summarise
from ncct_cta.metrics import PRIMARY, columns

NAMES = [column.name for column in columns(DEFAULT_WINDOW)]


def evaluation(methods: tuple[str, ...] = ("identity", "hu_remap", "ours"), cases: int = 3) -> Evaluation:
    found = tuple(Case(f"p{i}", Path(f"p{i}_ncct.nii.gz")) for i in range(cases))
    rows = [
        {"case": case.name, "method": method, **dict.fromkeys(NAMES, 7.25 + i + 10 * m)}
        for i, case in enumerate(found)
        for m, method in enumerate(methods)
    ]
    rows[0] |= {"vessel_mae_hu": math.nan, "vessel_shape_mae_hu": math.nan, "body_psnr_db_range4095": math.inf}
    summary = summarise(rows, columns(DEFAULT_WINDOW))
    remarks = ("2 cases: too few to conclude." + " And more words on what the figures can't show." * 3,)
    return Evaluation(found, tuple(Method(name, {}) for name in methods), tuple(rows), summary, remarks)


def test_the_table_fits_the_terminal_with_large_numbers_and_long_names() -> None:
    names = ("identity", "hu_remap", "a_method_with_quite_a_long_name", "another_of_them_that_is_long")
    found = evaluation(names)
    rows = [
        {key: -1234.5678 if isinstance(value, float) else value for key, value in row.items()} for row in found.rows
    ]
    summary = summarise(rows, found.columns)
    for each in (found, Evaluation(found.cases, found.methods, tuple(rows), summary, found.remarks)):
        assert max(map(len, format_table(each).splitlines())) <= 100


def test_long_names_that_differ_at_the_end_are_told_apart() -> None:
    lines = format_table(evaluation(("identity", "unet_baseline_16_wide", "unet_baseline_16_deep"))).splitlines()
    firsts = [line.split()[0] for line in lines if line.startswith("unet")]
    assert firsts == ["unet_ba...6_wide", "unet_ba...6_deep"] * 3


def test_the_table_says_of_how_many_cases_it_is_and_what_is_not_available() -> None:
    lines = format_table(evaluation()).splitlines()
    assert lines[0] == "Means over 3 cases"
    detail = next(i for i, line in enumerate(lines) if line.startswith("vessels "))
    assert lines[detail + 1].split()[:3] == ["identity", "2", "8.8"]  # one of three is n/a
    assert lines[detail + 2].split()[:3] == ["HU", "remap", "3"]
    assert format_table(evaluation(cases=1)).startswith("Means over 1 case\n")
    only = format_table(evaluation(cases=1)).splitlines()
    assert next(line for line in only if line.startswith("identity")).split()[1] == "n/a"


def test_the_remarks_stand_below_the_table() -> None:
    assert "* 2 cases: too few to conclude." in format_table(evaluation())


def test_without_a_method_there_is_no_test_against_the_first() -> None:
    assert "p against" in format_table(evaluation())
    assert format_table(evaluation(("identity", "hu_remap"))).count("p against") == 2
    assert format_table(evaluation()).count("p against") == 4


def test_the_scores_are_written_in_full_with_empty_cells_for_what_is_not_available(tmp_path: Path) -> None:
    write_tables(evaluation(), tmp_path)
    with (tmp_path / "scores.csv").open() as file:
        found = list(csv.DictReader(file))
    assert len(found) == 9
    assert list(found[0]) == ["case", "method", *NAMES]
    assert found[0]["vessel_mae_hu"] == ""
    assert found[0]["body_psnr_db_range4095"] == "inf"
    assert found[-1] == {"case": "p2", "method": "ours", **dict.fromkeys(NAMES, "29.25")}


def test_the_summary_is_the_same_in_csv_and_json(tmp_path: Path) -> None:
    write_tables(evaluation(), tmp_path)
    found = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert found["cases"] == ["p0", "p1", "p2"]
    assert found["methods"]["identity"]["body_psnr_db_range4095"]["mean"] is None
    assert found["columns"]["vessel_mae_hu"] == {
        "title": "MAE, vessels", "unit": "HU", "better": "lower", "primary": False,
    }  # fmt: skip
    assert {name for name, column in found["columns"].items() if column["primary"]} == set(PRIMARY)
    assert found["remarks"] == list(evaluation().remarks)
    with (tmp_path / "summary.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * len(NAMES)
    for line in lines:
        statistic = found["methods"][line.pop("method")][line.pop("column")]
        numbers = {key: float(value) if value else None for key, value in line.items()}
        assert numbers == statistic or math.inf in numbers.values()
    assert not list(tmp_path.glob(".*"))
