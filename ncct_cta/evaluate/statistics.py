"""From per-case scores to statistics of methods: mean, spread, bootstrap interval, paired tests."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import stats

from ..metrics import PRIMARY, Column
from .results import BASELINES, IDENTITY, ScoreRow, Statistic

CONFIDENCE = 0.95
RESAMPLES = 9999
# With fewer cases the smallest p that a two-sided exact Wilcoxon test can give, 2 / 2^n, lies above 0.05.
LEAST_CASES_TO_CONCLUDE = 6


def summarise(
    rows: Sequence[ScoreRow], columns: Sequence[Column], *, baselines: Collection[str] = BASELINES, seed: int = 0
) -> dict[str, dict[str, Statistic]]:
    """Summarise every score of every method over the cases.

    Args:
        rows: one for each case and method, as in ``Evaluation``; every method has all cases, in the same order.
        columns: the scores.
        baselines: the names of methods that none is compared with as the first.
        seed: of the bootstrap's resampling.

    Returns:
        by method, in the rows' order, and by the column's name.
    """
    names = list(dict.fromkeys(str(row["method"]) for row in rows))
    first = first_method(names, baselines)
    summary: dict[str, dict[str, Statistic]] = {name: {} for name in names}
    for column in columns:
        scores = {name: _scores(rows, name, column.name) for name in names}
        for name, own in scores.items():
            summary[name][column.name] = _statistic(
                own,
                identity=scores.get(IDENTITY) if name != IDENTITY else None,
                first=scores[first] if first is not None and name != first else None,
                seed=seed,
            )
    return {name: _corrected(statistics) for name, statistics in summary.items()}


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's correction (Scand. J. Statist. 1979) of the p-values of one family of tests; NaN: no test, stays NaN.

    The k-th smallest of m is multiplied by m - k + 1, and is at least the one before and at most 1.
    """
    corrected = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN are sorted to the end
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def _corrected(statistics: Mapping[str, Statistic]) -> dict[str, Statistic]:
    """A method's statistics with the p-values corrected for the number of scores that aren't primary endpoints."""
    others = [name for name in statistics if name not in PRIMARY]
    found = {name: replace(own, p_identity_corrected=own.p_identity, p_first_corrected=own.p_first)
             for name, own in statistics.items()}  # fmt: skip
    p = np.array([[statistics[name].p_identity, statistics[name].p_first] for name in others]).reshape(-1, 2)
    for name, against_identity, against_first in zip(others, *(holm(family).tolist() for family in p.T), strict=True):
        found[name] = replace(statistics[name], p_identity_corrected=against_identity, p_first_corrected=against_first)
    return found


def first_method(names: Iterable[str], baselines: Collection[str] = BASELINES) -> str | None:
    """Return the first method that isn't a baseline, to compare the others with; None if all are baselines."""
    return next((name for name in names if name not in baselines), None)


def conclusion(cases: int, figures: Mapping[str, int] | None = None) -> str | None:
    """Return a plain sentence if there are too few cases to conclude anything, overall or for a score.

    Args:
        cases: how many there are.
        figures: by score, the number of cases in which it exists; scores that exist in none are skipped.
    """
    few = [f"{score} ({n} of {cases} cases)" for score, n in (figures or {}).items() if 0 < n < LEAST_CASES_TO_CONCLUDE]
    if cases < LEAST_CASES_TO_CONCLUDE:
        few = [f"{cases} case{'s' * (cases != 1)}"]
    if not few:
        return None
    return (
        f"{'; '.join(few)}: too few to conclude. With fewer than {LEAST_CASES_TO_CONCLUDE}, a "
        "two-sided Wilcoxon test can't reach p < 0.05, however large the difference."
    )


def _scores(rows: Sequence[ScoreRow], method: str, column: str) -> np.ndarray:
    return np.array([float(row[column]) for row in rows if row["method"] == method])


def _statistic(scores: np.ndarray, *, identity: np.ndarray | None, first: np.ndarray | None, seed: int) -> Statistic:
    known = scores[~np.isnan(scores)]
    low, high = _bootstrap_interval(known, seed)
    return Statistic(
        cases=len(known),
        mean=float(known.mean()) if len(known) else float("nan"),
        std=float(known.std(ddof=1)) if len(known) > 1 and np.isfinite(known).all() else float("nan"),
        low=low,
        high=high,
        p_identity=_paired_p(scores, identity),
        p_first=_paired_p(scores, first),
    )


def _bootstrap_interval(scores: np.ndarray, seed: int) -> tuple[float, float]:
    """The percentile bootstrap of the mean: unlike BCa it works for a handful of cases and for identical values."""
    if len(scores) < 2 or not np.isfinite(scores).all():
        return float("nan"), float("nan")
    interval = stats.bootstrap(
        (scores,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _paired_p(scores: np.ndarray, other: np.ndarray | None) -> float:
    """Two-sided Wilcoxon signed-rank test over the cases in which both scores exist."""
    if other is None:
        return float("nan")
    both = np.isfinite(scores) & np.isfinite(other)
    difference = scores[both] - other[both]
    if len(difference) < 2:
        return float("nan")
    return float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0
