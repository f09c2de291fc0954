"""What the demo reports: errors of saved predictions on held-out cases, as a table, as data and as a picture."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .data import Case
from .data.nifti import read_ct, read_mask, to_ras, write_like
from .engines.inference import OUTPUT_SUFFIX
from .keys import LUNG, VESSEL
from .metrics import HURemap, regions, score
from .previews import axial, panel_figure, richest_slice, save_figure

IDENTITY, HU_REMAP = "identity", "hu_remap"
SHOWN_NAMES = {HU_REMAP: "HU remap"}
COLUMNS = {
    "body_mae_hu": "body",
    "lung_mae_hu": "lung",
    "vessel_mae_hu": "vessels",
    "nonvessel_mae_hu": "body without vessels",
    "enhancement_recovery": "enhancement recovery",
}
WIDTH = 100  # of a terminal
# What the demo's generator must reach: its errors against the identity's.
VESSEL_SHARE, NONVESSEL_EXCESS_HU = 0.4, 3.0
REMEDY = " Train longer (--steps) or on more patients (--cases)."

Scores = Mapping[str, Mapping[str, float]]


def write_hu_remap(training: Sequence[Case], held_out: Sequence[Case], folder: Path) -> None:
    """Fit the HU remap on the training pairs alone and write what it predicts for the held-out cases."""
    remap = HURemap((read_ct(case.ncct).array, read_ct(_given(case.cta)).array) for case in training)
    for case in held_out:
        ncct = read_ct(case.ncct)
        write_like(remap(ncct.array), ncct, folder / f"{case.name}{OUTPUT_SUFFIX}")


def score_methods(held_out: Sequence[Case], folders: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """Score saved predictions and the identity: means over the cases.

    Args:
        held_out: cases with CTA, lung and vessel mask.
        folders: by method, the folder of its ``{case}_syncta.nii.gz``.
    """
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in (IDENTITY, *folders)}
    for case in held_out:
        ncct, cta, masks = _read_case(case)
        rows[IDENTITY].append(score(ncct, ncct, cta, masks))
        for name, folder in folders.items():
            rows[name].append(score(_read_ras(folder / f"{case.name}{OUTPUT_SUFFIX}"), ncct, cta, masks))
    return {name: {key: _mean([row[key] for row in own]) for key in own[0]} for name, own in rows.items()}


def format_table(methods: Scores, cases: int) -> str:
    """The scores as a table of at most 100 columns, with what they are in its first line."""
    lines = [
        f"Mean absolute error in HU against the CTA, {cases} held-out case{'s' * (cases != 1)}; lower is better "
        "(recovery: 1 is best)",
        "",
        "  ".join([f"{'method':<12}", *(f"{title:>8}" for title in COLUMNS.values())]),
    ]
    for name, scores in methods.items():
        cells = [
            f"{scores[key]:>{max(8, len(title))}.{2 if key == 'enhancement_recovery' else 1}f}"
            for key, title in COLUMNS.items()
        ]
        lines.append("  ".join([f"{SHOWN_NAMES.get(name, name):<12}", *cells]))
    return "\n".join(lines) + "\n"


def verdict(methods: Scores, trained: Sequence[str]) -> str:
    """Say in words whether the trained methods reach what the demo promises."""
    identity, remap = methods[IDENTITY], methods[HU_REMAP]
    paragraphs = []
    for name in trained:
        share = methods[name]["vessel_mae_hu"] / identity["vessel_mae_hu"]
        excess = methods[name]["nonvessel_mae_hu"] - identity["nonvessel_mae_hu"]
        beats_remap = methods[name]["vessel_mae_hu"] < remap["vessel_mae_hu"]
        reached = share <= VESSEL_SHARE and beats_remap and excess <= NONVESSEL_EXCESS_HU
        text = (
            f"{name} {'reaches what it should' if reached else 'DOES NOT REACH what it should'}: its error in the "
            f"vessels is {share:.0%} of the identity's (at most {VESSEL_SHARE:.0%}) and "
            f"{'below' if beats_remap else 'not below'} the HU remap's; in the body without vessels it is "
            f"{abs(excess):.1f} HU {'above' if excess > 0 else 'below'} the identity's (at most "
            f"{NONVESSEL_EXCESS_HU:g} above).{'' if reached else REMEDY}"
        )
        paragraphs.append(textwrap.fill(text, WIDTH))
    return "\n".join(paragraphs)


def write_json(content: Mapping[str, object], path: Path) -> None:
    """Write plain data as JSON, beside and renamed; NaN, which JSON doesn't know, becomes null."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(json.dumps(_without_nan(content), indent=2) + "\n")
    beside.replace(path)


def write_preview(case: Case, predictions: Path, path: Path) -> None:
    """Draw a case's NCCT, saved prediction, CTA and errors where it holds most of the lungs' vessels."""
    volume = read_ct(case.ncct)
    ncct, cta, masks = _read_case(case)
    prediction = _read_ras(predictions / f"{case.name}{OUTPUT_SUFFIX}")
    z = richest_slice(masks[LUNG] & masks[VESSEL])
    figure = panel_figure(
        {"NCCT": axial(ncct, z), "Prediction": axial(prediction, z)},
        axial(cta, z),
        title=f"Held-out {case.name}, axial slice {z + 1} of {ncct.shape[2]}",
        aspect=volume.spacing[1] / volume.spacing[0],
    )
    save_figure(figure, path)


def _read_case(case: Case) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    volume = read_ct(case.ncct)
    lung, vessel = (to_ras(read_mask(_given(path), volume), volume.affine)[0] for path in (case.lung, case.vessel))
    ncct = to_ras(volume.array, volume.affine)[0]
    return ncct, _read_ras(_given(case.cta)), regions(ncct, lung, vessel)


def _read_ras(path: Path) -> np.ndarray:
    volume = read_ct(path)
    return to_ras(volume.array, volume.affine)[0]


def _given(path: Path | None) -> Path:
    if path is None:
        raise ValueError("a case of the demo has no CTA or mask")
    return path


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _without_nan(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
