"""Does a map of uncertainty tell where a prediction is wrong? Ranking, sparsification, reliability and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ..common.hu import POSSIBLE_VESSEL_HU, SPREAD_FLOOR_HU

ROUNDS = 50  # of two quantiles that depend on each other; they settle after a few


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive voxel's score is above a negative one's, ties counted half (Mann-Whitney).

    Args:
        scores: (n,).
        positive: (n,) boolean.

    Returns:
        in [0, 1], 0.5 for scores that say nothing; NaN if all voxels are of one kind.
    """
    count = int(np.count_nonzero(positive))
    others = positive.size - count
    if not count or not others:
        return math.nan
    return float((rankdata(scores)[positive].sum() - count * (count + 1) / 2) / (count * others))


def sparsification(spread: np.ndarray, error: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """The mean error of what is left without the most uncertain voxels (Ilg et al., ECCV 2018).

    Args:
        spread: (n,); voxels of one value leave in no particular order.
        error: (n,) absolute errors. With themselves for the spread they give the oracle's curve, the lowest there is.
        shares: of the voxels that have left, each in [0, 1).
    """
    certain_first = np.argsort(spread, kind="stable")
    sums = np.cumsum(error[certain_first], dtype=np.float64)
    left = [max(1, round((1 - share) * error.size)) for share in shares]
    return np.array([sums[count - 1] / count for count in left])


def reliability(spread: np.ndarray, error: np.ndarray, bins: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Mean spread and root mean square error of equally many voxels each, from the most certain to the least.

    A spread that is the error's standard deviation lies on the diagonal (Guo et al., ICML 2017, for regression).
    """
    order = np.array_split(np.argsort(spread, kind="stable"), min(bins, spread.size))
    mean = np.array([spread[part].mean(dtype=np.float64) for part in order])
    return mean, np.array([math.sqrt(np.square(error[part], dtype=np.float64).mean()) for part in order])


@dataclass(frozen=True)
class Interval:
    """Half the width of an interval around a prediction: ``q * (sd + SPREAD_FLOOR_HU)``.

    ``q`` is one number where the prediction enhances the scan by more than ``POSSIBLE_VESSEL_HU``, and another
    elsewhere: where the vessels are isn't known when the interval is drawn.

    Args:
        enhanced: q where it does.
        rest: q elsewhere.
    """

    enhanced: float
    rest: float

    def half_width(self, ncct: np.ndarray, prediction: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """In HU, float32, of the arguments' shape, which are in HU too."""
        factor = np.where(_enhanced(ncct, prediction), np.float32(self.enhanced), np.float32(self.rest))
        return factor * _scale(spread)


@dataclass(frozen=True)
class CalibrationVoxels:
    """Voxels of a case that intervals are fitted on, each array (n,).

    Args:
        ncct: in HU.
        prediction: in HU.
        spread: in HU.
        cta: in HU.
        vessel: whether the voxel is in a vessel; else it is in the rest of the body.
    """

    ncct: np.ndarray
    prediction: np.ndarray
    spread: np.ndarray
    cta: np.ndarray
    vessel: np.ndarray


def fit_interval(cases: Sequence[CalibrationVoxels], level: float) -> Interval:
    """The interval that holds a share ``level`` of the CTA's voxels in the vessels, and of those in the rest.

    Split-conformal prediction with normalised scores ``|CTA - prediction| / (sd + floor)`` (Lei et al., JASA 2018). Its
    quantiles are weighted so that every case counts the same in each region. Vessels that the prediction misses lie
    where it enhances nothing, so the two factors depend on each other and are found in turns.

    Its guarantee is for cases like those it was fitted on, and voxels of one patient are no independent samples: with
    few cases the coverage of new ones scatters.

    Raises:
        ValueError: if there are no vessels or no rest in the cases.
    """
    joined = [
        np.concatenate([getattr(case, name) for case in cases]) for name in ("ncct", "prediction", "spread", "cta")
    ]
    ncct, prediction, spread, cta = joined
    vessel = np.concatenate([case.vessel for case in cases])
    if vessel.all() or not vessel.any():
        raise ValueError("an interval is fitted on vessels and rest; the cases hold one of them alone")
    weights = np.concatenate([_weights(case.vessel) for case in cases])
    scores = np.abs(cta - prediction.astype(np.float32)) / _scale(spread)
    enhanced = _enhanced(ncct, prediction)
    # Vessels are calibrated by the factor where there is enhancement, the rest by the other one.
    factors = {True: _quantile(scores, weights, level), False: _quantile(scores, weights, level)}
    for _ in range(ROUNDS):
        before = dict(factors)
        for kind in (False, True):
            mine, other = (vessel == kind) & (enhanced == kind), (vessel == kind) & (enhanced != kind)
            held = weights[other & (scores <= factors[not kind])].sum()
            if mine.any():
                needed = (level * weights[vessel == kind].sum() - held) / weights[mine].sum()
                factors[kind] = _quantile(scores[mine], weights[mine], needed)
        if factors == before:
            break
    return Interval(factors[True], factors[False])


def _enhanced(ncct: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return prediction.astype(np.float32) - ncct > POSSIBLE_VESSEL_HU


def _scale(spread: np.ndarray) -> np.ndarray:
    return spread.astype(np.float32) + SPREAD_FLOOR_HU


def _weights(vessel: np.ndarray) -> np.ndarray:
    """Of a case's voxels: one for its vessels together, and one for its rest."""
    counts = max(1, int(vessel.sum())), max(1, int((~vessel).sum()))
    return np.where(vessel, 1 / counts[0], 1 / counts[1])


def _quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """The least value that a share ``level`` of the weights doesn't exceed; the largest for 1 and more."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    at = np.searchsorted(sums, min(max(level, 0.0), 1.0) * sums[-1])
    return float(values[order[min(int(at), values.size - 1)]])
