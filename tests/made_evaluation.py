"""An evaluation made by hand: phantoms, predictions that are mixtures of NCCT and CTA, and figures that are known."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ncct_cta.common.hu import to_int16_hu
from ncct_cta.data import Case
from ncct_cta.evaluate.results import DEFAULT_WINDOW, HU_REMAP, IDENTITY, Evaluation, Method
from ncct_cta.evaluate.statistics import summarise
from ncct_cta.metrics import columns
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.nifti_write import write_like

# Share of the enhancement that each method finds.
SHARES = {IDENTITY: 0.0, HU_REMAP: 0.1, "G": 0.8, "G2": 0.9}


def predict(cases: Sequence[Case], name: str, share: float, folder: Path) -> dict[str, Path]:
    """Write ``NCCT + share * (CTA - NCCT)`` for every case; the identity's predictions are the NCCTs themselves."""
    if name == IDENTITY:
        return {case.name: case.ncct for case in cases}
    files = {}
    for case in cases:
        ncct, cta = read_ct(case.ncct), read_ct(case.cta)
        mixed = ncct.array + share * (cta.array.astype(np.float32) - ncct.array)
        # A method's name may hold what a file's name can't.
        files[case.name] = folder / f"{len(list(folder.iterdir()))}.nii.gz"
        write_like(to_int16_hu(mixed), ncct, files[case.name])
    return files


def evaluation_of(
    cases: Sequence[Case],
    predictions: Mapping[str, Mapping[str, Path]],
    *,
    runs: Mapping[str, Path] | None = None,
    remarks: tuple[str, ...] = (),
) -> Evaluation:
    """Figures without scoring: a method's vessel error is 100, 90, ... in the first case and 10 more in each next."""
    names = [column.name for column in columns(DEFAULT_WINDOW)]
    rows = []
    for number, case in enumerate(cases):
        for at, method in enumerate(predictions):
            scores = dict.fromkeys(names, math.nan)
            scores["vessel_mae_hu"] = 100.0 - 10 * at + 10 * number
            scores["enhancement_recovery"] = SHARES.get(method, 0.5) + number / 100
            rows.append({"case": case.name, "method": method, **scores})
    methods = tuple(Method(name, files, (runs or {}).get(name)) for name, files in predictions.items())
    return Evaluation(tuple(cases), methods, tuple(rows), summarise(rows, columns(DEFAULT_WINDOW)), remarks)


def write_log(run, rows):
    with open(run / "metrics.csv", "w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def log_rows(d_real="", d_fake="", steps=250):
    return [
        {"epoch": epoch, "iteration": steps * epoch, "loss": 1 / epoch, "val_loss": 1.1 / epoch,
         "val_vessel_mae_hu": 200 / epoch,
         "identity_vessel_mae_hu": 250, "D_real": d_real, "D_fake": d_fake}
        for epoch in range(1, 5)
    ]  # fmt: skip
