"""The page that explains the columns of metrics.csv knows all of them, in their order."""

from __future__ import annotations

import re
from pathlib import Path

from ncct_cta.handlers import MetricsLogHandler

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training.md"


def test_every_column_of_metrics_csv_is_explained(tmp_path: Path) -> None:
    _, _, table = PAGE.read_text(encoding="utf-8").partition("### The columns of metrics.csv")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", table, flags=re.MULTILINE)
    assert [name for name, *_ in rows] == MetricsLogHandler(tmp_path).columns
