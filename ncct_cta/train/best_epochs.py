"""Which epoch each choice of the best checkpoint stands for."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from ..common.keys import VAL_LOSS, VAL_VESSEL_MAE_HU


def choices_of_best(metrics: Path) -> Iterator[str]:
    """``train.best``, its epoch and what validation found there, for each choice that a run's metrics.csv allows."""
    with open(metrics, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    validated = [row for row in rows if row.get(VAL_LOSS)]
    for name in (VAL_LOSS, VAL_VESSEL_MAE_HU):
        found = [row for row in validated if row.get(name)]
        if found:
            chosen = found[min(range(len(found)), key=[float(row[name]) for row in found].__getitem__)]
            yield f"{name} epoch {chosen['epoch']} ({_found(chosen)})"
    if rows:
        yield f"last epoch {rows[-1]['epoch']}" + (f" ({_found(rows[-1])})" if rows[-1].get(VAL_LOSS) else "")


def _found(row: dict[str, str]) -> str:
    return ", ".join(f"{name} {float(row[name]):.4g}" for name in (VAL_LOSS, VAL_VESSEL_MAE_HU) if row.get(name))
