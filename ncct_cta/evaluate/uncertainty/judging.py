"""Judge the maps of uncertainty that lie beside predictions, and make intervals of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...common.files import to_json, write_table, write_text
from ...common.hu import GROSS_ERROR_HU, to_int16_hu
from ...common.keys import BODY, VESSEL
from ...common.progress import progress_bar
from ...data import Case
from ...engines.inference import OUTPUT_SUFFIX, SD_SUFFIX
from ...engines.output_record import RECORD_SUFFIX, is_of_another
from ...metrics import NONVESSEL
from ...metrics.spread import CalibrationVoxels, Interval, auroc, fit_interval, reliability, sparsification
from ...volumes.nifti import read_ct
from ...volumes.nifti_write import write_like
from ..failures import Failure, collected
from ..missing_masks import complete_masks
from .findings import LEVEL, REGIONS, SHARES, CaseUncertainty, MethodUncertainty
from .judged_case import JudgedCase, read_judged_case

if TYPE_CHECKING:  # results hold what is found here
    from ..results import Evaluation, Method

logger = logging.getLogger(__name__)

TABLE, INTERVALS, INTERVAL_JSON = "uncertainty.csv", "intervals", "interval.json"
# Of a case and a region: more voxels change no third digit of a quantile, and all would fill the memory.
MOST_VOXELS = 200_000
# Of a case: so many voxels are ranked, which takes seconds for all of a large scan.
MOST_RANKED = 2_000_000
INTERVAL_NOTE = f"end of a {LEVEL:.0%} interval in HU"


def judge_uncertainty(
    evaluation: Evaluation, validation: Sequence[Case], folder: Path
) -> tuple[MethodUncertainty, ...]:
    """Judge every method with ``{case}_sd.nii.gz`` beside its predictions.

    Writes ``uncertainty.csv``, and where the validation cases have predictions and maps in the same folder as the
    scored ones, ``intervals/METHOD/{case}_lo.nii.gz`` and ``{case}_hi.nii.gz``. The intervals are fitted on those
    cases, never on the scored ones.

    Args:
        evaluation: the scored cases and methods.
        validation: pairs that aren't scored.
        folder: the evaluation's.
    """
    found = []
    for method in evaluation.methods:
        maps = _maps(method, evaluation.cases) if method.run is not None or method.made_elsewhere else {}
        if maps:
            found.append(_judged(method, evaluation.cases, maps, validation, folder))
    rows = [row for each in found for row in _rows(each)]
    if rows:
        write_table(folder / TABLE, rows, list(rows[0]))
    return tuple(found)


def _maps(method: Method, cases: Sequence[Case]) -> dict[str, Path]:
    """The map beside each prediction that has one."""
    beside = {case.name: method.predictions[case.name].with_name(f"{case.name}{SD_SUFFIX}") for case in cases}
    return {name: path for name, path in beside.items() if _is_map(name, path)}


def _is_map(case: str, path: Path) -> bool:
    """Whether a case has a map, and it isn't that of an earlier prediction, which a new one leaves where it is."""
    if not path.is_file():
        return False
    if is_of_another(path.with_name(f"{case}{RECORD_SUFFIX}"), path):
        logger.warning("%s: isn't the map of the prediction beside it, by its record; it is left out", path)
        return False
    return True


def _judged(
    method: Method, cases: Sequence[Case], maps: Mapping[str, Path], validation: Sequence[Case], folder: Path
) -> MethodUncertainty:
    failures: dict[str, Failure] = {}
    voxels = _calibration(method, next(iter(maps.values())).parent, validation, folder, failures)
    interval = None
    if any(each.vessel.any() for each in voxels) and any(not each.vessel.all() for each in voxels):
        interval = fit_interval(voxels, LEVEL)
        factors = {"level": LEVEL, "cases": len(voxels), "enhanced": interval.enhanced, "rest": interval.rest}
        write_text(to_json(factors), folder / INTERVALS / method.name / INTERVAL_JSON)
    judged = []
    with progress_bar(maps.items(), desc=f"uncertainty of {method.name}", unit="case", leave=False) as bar:
        for name, path in bar:
            case = next(case for case in cases if case.name == name)
            with collected(failures, name):
                read = read_judged_case(case, method, path)
                judged.append(_judge(read, path, interval))
                if interval is not None:
                    _write_interval(read, interval, folder / INTERVALS / method.name)
    remark = " ".join([*(failure.reason for failure in failures.values()), *_missing(interval, len(maps), len(cases))])
    return MethodUncertainty(method.name, tuple(judged), interval, len(voxels) if interval else 0, remark)


def _missing(interval: Interval | None, maps: int, cases: int) -> list[str]:
    none = "There is no interval: it is fitted on validation cases, whose predictions and maps aren't in the folder."
    return [none] * (interval is None) + [f"{cases - maps} cases have no map."] * (maps < cases)


def _calibration(
    method: Method, predictions: Path, cases: Sequence[Case], folder: Path, failures: MutableMapping[str, Failure]
) -> list[CalibrationVoxels]:
    """Voxels of the validation cases that have a prediction and a map in the same folder as the scored ones."""
    files = {case.name: predictions / f"{case.name}{OUTPUT_SUFFIX}" for case in cases}
    usable = [
        case
        for case in cases
        if files[case.name].is_file() and _is_map(case.name, predictions / f"{case.name}{SD_SUFFIX}")
    ]
    completed, _ = complete_masks(usable, folder / "masks", failures)
    own = replace(method, predictions=files)
    found = []
    for case in completed:
        with collected(failures, case.name):
            read = read_judged_case(case, own, predictions / f"{case.name}{SD_SUFFIX}")
            found.append(_sampled(read))
    return found


def _sampled(case: JudgedCase) -> CalibrationVoxels:
    """At most ``MOST_VOXELS`` of each region."""
    chosen = [_chosen(case.images.masks[region], MOST_VOXELS) for region in (VESSEL, NONVESSEL)]
    both = np.concatenate(chosen)
    arrays = {"ncct": case.images.ncct, "prediction": case.prediction, "spread": case.spread, "cta": case.images.cta}
    vessel = np.arange(both.size) < chosen[0].size
    return CalibrationVoxels(vessel=vessel, **{name: array.reshape(-1)[both] for name, array in arrays.items()})


def _chosen(mask: np.ndarray, most: int) -> np.ndarray:
    """Flat indices of a mask's voxels; of too many some by chance, always the same."""
    places = np.flatnonzero(mask)
    return np.random.default_rng(0).choice(places, most, replace=False) if places.size > most else places


def _judge(case: JudgedCase, path: Path, interval: Interval | None) -> CaseUncertainty:
    body = _chosen(case.images.masks[BODY], MOST_RANKED)
    prediction, cta, spread = (image.reshape(-1)[body] for image in (case.prediction, case.images.cta, case.spread))
    error = np.abs(prediction.astype(np.float32) - cta)
    coverage, width = {}, {}
    if interval is not None:
        low, high = case.interval(interval)
        for region in REGIONS:
            mask = case.images.masks[region]
            truth, lows, highs = case.images.cta[mask], low[mask], high[mask]
            coverage[region] = float(((lows <= truth) & (truth <= highs)).mean()) if truth.size else math.nan
            width[region] = float((highs.astype(np.float32) - lows).mean()) if truth.size else math.nan
    return CaseUncertainty(
        case=case.name,
        spread=path,
        auroc=auroc(spread, error > GROSS_ERROR_HU),
        left=sparsification(spread, error, SHARES),
        oracle=sparsification(error, error, SHARES),
        reliability=reliability(spread, error),
        coverage=coverage,
        width=width,
    )


def _write_interval(case: JudgedCase, interval: Interval, folder: Path) -> None:
    """Both ends on the whole grid of the scan, in its own axis order."""
    volume = read_ct(case.case.ncct)
    half = interval.half_width(volume.array, case.whole_prediction, case.whole_spread)
    for end, sign in (("lo", -1), ("hi", 1)):
        hu = to_int16_hu(case.whole_prediction + sign * half)
        write_like(hu, volume, folder / f"{case.name}_{end}.nii.gz", description=INTERVAL_NOTE)


def _rows(found: MethodUncertainty) -> list[dict[str, object]]:
    return [
        {
            "method": found.method,
            "case": case.case,
            f"auroc_above_{GROSS_ERROR_HU}_hu": _cell(case.auroc),
            "mae_hu": case.left[0],
            "mae_without_most_uncertain_tenth_hu": case.left[SHARES.index(0.1)],
            "mae_without_largest_errors_tenth_hu": case.oracle[SHARES.index(0.1)],
            **{f"{region}_coverage": _cell(case.coverage.get(region, math.nan)) for region in REGIONS},
            **{f"{region}_interval_width_hu": _cell(case.width.get(region, math.nan)) for region in REGIONS},
        }
        for case in found.cases
    ]


def _cell(value: float) -> object:
    return "" if math.isnan(value) else value
