"""The page and the table of quality control: order, states, and names that are text and never markup."""

from __future__ import annotations

import base64
import csv
from pathlib import Path

import numpy as np
import pytest

from ncct_cta.prepare.pairs.qc_pictures import checkerboard, draw_pair, plane
from ncct_cta.prepare.pairs.report import REPORT, TITLES
from ncct_cta.prepare.qc_report import worst_first, write_csv, write_html
from ncct_cta.prepare.records import Record

PNG = b"\x89PNG picture"


def record(case: str, dice: float, *flags: str, accepted: bool = False) -> Record:
    scores = {**dict.fromkeys(TITLES, 0.5), "lung_dice_after": dice, "surface_mean_mm_after": None}
    return Record(case, "p", scores, flags, accepted)


RECORDS = [
    record("fine", 0.99),
    record("one", 0.90, "bad"),
    record("two", 0.95, "bad", "worse"),
    record("taken", 0.93, "bad", accepted=True),
]


def test_the_worst_come_first() -> None:
    assert [(found.case, found.state) for found in worst_first(RECORDS, REPORT)] == [
        ("two", "flagged"),
        ("one", "flagged"),
        ("taken", "accepted"),
        ("fine", "good"),
    ]


def test_the_table_leaves_empty_what_could_not_be_measured(tmp_path: Path) -> None:
    write_csv(RECORDS, REPORT, tmp_path / "qc.csv")
    with open(tmp_path / "qc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["flags"] == "bad | worse"
    assert rows[0]["surface_mean_mm_after"] == ""
    assert float(rows[0]["lung_dice_after"]) == 0.95


def test_names_and_reasons_are_text(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(PNG)
    bad = "<script>alert(1)</script>"
    records = [record("a", 0.5, bad)]
    write_html(records, {"b": bad}, {"a": picture}, REPORT, tmp_path / "qc.html")
    page = (tmp_path / "qc.html").read_text()
    assert bad not in page
    assert page.count("&lt;script&gt;") == 2
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'\">" in page  # neither scripts nor the network
    assert f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in page


@pytest.mark.parametrize(("axis", "corner"), [(2, (0, 0)), (1, (0, 0)), (0, (0, 0))])
def test_planes_have_right_front_and_head_at_left_and_top(axis: int, corner: tuple[int, int]) -> None:
    volume = np.zeros((4, 5, 6))
    volume[-1, -1, -1] = 1  # the patient's right-most, front-most, top-most voxel in RAS+
    assert plane(volume, axis, volume.shape[axis] - 1)[corner] == 1
    assert plane(volume, axis, 0).sum() == 0


def test_a_checkerboard_takes_turns() -> None:
    board = checkerboard(np.zeros((4, 6)), np.ones((4, 6)), (2, 3))
    np.testing.assert_array_equal(board, np.kron([[0, 1], [1, 0]], np.ones((2, 3))))


def test_a_pair_is_drawn_also_without_lungs(tmp_path: Path) -> None:
    volume = np.full((12, 10, 8), -1000, np.int16)
    draw_pair(tmp_path / "a.png", "a", volume, {"before": volume, "after": volume}, np.zeros(volume.shape), (3, 3, 5))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
