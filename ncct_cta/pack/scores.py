"""The scores of a model's card, from evaluations' ``summary.json``: figures and the number of cases, no names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..evaluate.results import BASELINES, HU_REMAP, IDENTITY
from ..evaluate.score_files import SUMMARY_JSON

FIGURES = ("mean", "low", "high", "cases")


def scores_of(folder: Path, method: str, *, named: bool, title: str = "") -> dict[str, Any]:
    """The scores of one method, with the identity's and the HU remap's beside them.

    Args:
        folder: an evaluation's folder, or its ``summary.json``.
        method: as the evaluation calls it; where there is none of this name, the only trained one.
        named: whether the user gave that name, so that there must be one.
        title: what the cases are, in the user's words.

    Returns:
        ``title``; ``cases``, their number; and ``columns``: title, unit, and the ``mean``, bootstrap 95 % interval
        (``low``, ``high``) and number of ``cases`` of each score, and the means of the baselines, ``identity`` and
        ``hu_remap``; None where there is none.

    Raises:
        InputError: if it can't be read, or it isn't clear whose scores are meant.
    """
    path = folder / SUMMARY_JSON if folder.is_dir() else folder
    summary = _read(path)
    methods = summary["methods"]
    trained = [name for name in methods if name not in BASELINES]
    if method not in trained:
        if named or len(trained) != 1:
            listed = ", ".join(trained) or "none"
            raise InputError(f"{path}: there is no method {method!r} in it (trained: {listed}); choose one by --method")
        method = trained[0]
    columns = {
        name: {
            "title": summary["columns"][name]["title"],
            "unit": summary["columns"][name]["unit"],
            **{figure: statistic[figure] for figure in FIGURES},
            **{baseline: methods.get(baseline, {}).get(name, {}).get("mean") for baseline in (IDENTITY, HU_REMAP)},
        }
        for name, statistic in methods[method].items()
        if name in summary["columns"] and statistic["cases"]
    }
    return {"title": title, "cases": len(summary["cases"]), "columns": columns}


def _read(path: Path) -> Mapping[str, Any]:
    """An evaluation's summary, with what is read of it in its place."""
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        parts = [summary["methods"], summary["columns"], *summary["methods"].values(), *summary["columns"].values()]
        statistics = [statistic for own in summary["methods"].values() for statistic in own.values()]
        fits = isinstance(summary["cases"], list) and all(isinstance(part, dict) for part in parts)
        fits = fits and all(_is_figure(statistic[name]) for statistic in statistics for name in FIGURES)
        words = (column[name] for column in summary["columns"].values() for name in ("title", "unit"))
        fits = fits and all(isinstance(word, str) for word in words)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror}); give an evaluation's folder") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fits = False
    if not fits:
        raise InputError(f"{path}: isn't an evaluation's {SUMMARY_JSON}; give an evaluation's folder")
    return dict(summary)


def _is_figure(value: object) -> bool:
    """Whether a value is a number, or null as what isn't known: the card shows no text in its place."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
