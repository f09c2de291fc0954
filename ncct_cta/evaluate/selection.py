"""Choose the cases to score and find the predictions of each method."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import InputError
from ..common.hu import HUWindow
from ..data import Case, read_case_list
from ..data.cases import ALL_SPLITS, DATALIST, SPLITS
from .results import HU_REMAP, IDENTITY, SHOWN_NAMES, Method
from .sources import MethodSource

# In order of preference: as this software names them, and as other programs may.
PREDICTION_NAMES = ("{case}_syncta.nii.gz", "{case}_syncta.nii", "{case}.nii.gz", "{case}.nii")
SHOWN_CASES = 5
IMAGES = ("NCCT", "CTA")  # images that the report shows next to the methods


@dataclass(frozen=True)
class CaseSelection:
    """The cases of an evaluation.

    Args:
        cases: what is scored; each has a CTA.
        training: pairs to fit the HU remap on, which aren't scored; may be empty.
        remarks: plain sentences on the choice.
        validation: pairs to fit intervals on, which aren't scored; may be empty.
    """

    cases: tuple[Case, ...]
    training: tuple[Case, ...]
    remarks: tuple[str, ...]
    validation: tuple[Case, ...] = ()


def require_unique_names(sources: Iterable[MethodSource]) -> None:
    """Check that no two methods share a name.

    Raises:
        InputError: if a name occurs twice, or belongs to a baseline or an image.
    """
    seen = dict.fromkeys((IDENTITY, HU_REMAP, *SHOWN_NAMES.values()), "a baseline's")
    seen |= dict.fromkeys(IMAGES, "an image's in the report")
    for source in sources:
        if source.name in seen:
            raise InputError(
                f"{source.path}: the name {source.name!r} is {seen[source.name]}; give it another: NAME={source.path}"
            )
        seen[source.name] = f"that of {source.path.parent / source.path.name} already"


def choose_cases(
    datalist: str | Path,
    split: str = "",
    *,
    has_run: bool = False,
    val_fraction: float = 0.15,
    seed: int = 0,
    run_training: Sequence[Case] = (),
) -> CaseSelection:
    """Choose the cases that have a CTA: from the given split, or else from testing, validation or all.

    Without a run, a folder without a case list has no split: all its cases are scored unless a split is given.

    Args:
        datalist: a case list, or a folder of cases; see ``read_case_list``.
        split: a name in ``SPLITS``, ``all``, or empty.
        has_run: whether a run is among the methods.
        val_fraction: fraction of a folder's cases used for validation, as in training.
        seed: seed of that split.
        run_training: pairs that a run was trained on, to fit the HU remap on if the list has none.

    Raises:
        InputError: if there is no such list or split, or no pair in it.
    """
    if split and split not in (*SPLITS, ALL_SPLITS):
        raise InputError(f"split {split!r}: expected {', '.join(SPLITS)} or {ALL_SPLITS}")
    splits = read_case_list(datalist, val_fraction=val_fraction, seed=seed)
    splits[ALL_SPLITS] = [case for name in SPLITS for case in splits[name]]
    by_chance = Path(datalist).is_dir() and not (Path(datalist) / DATALIST).exists()
    preferred = (ALL_SPLITS,) if by_chance and not has_run else ("testing", "validation", ALL_SPLITS)
    wanted = (split,) if split else preferred
    name = next((name for name in wanted if _pairs(splits[name])), None)
    if name is None:
        raise InputError(
            f"{datalist}: no case of {wanted[-1]} has a CTA to compare with; list its cta, or choose another"
        )
    cases = _pairs(splits[name])
    training = [] if name in ("training", ALL_SPLITS) else _pairs(splits["training"])
    remarks = [_on_choice(name, len(cases), len(_pairs(splits[ALL_SPLITS])), by_chance=by_chance)]
    without = [case.name for case in splits[name] if case.cta is None]
    if without:
        remarks.append(f"Left out, because they have no CTA: {listed(without)}.")
    if not training:
        scored = {case.ncct.resolve() for case in cases}
        training = [case for case in _pairs(run_training) if case.ncct.resolve() not in scored]
        remarks.append(_on_remap(len(training)))
    validation = _pairs(splits["validation"]) if name == "testing" else []
    return CaseSelection(
        tuple(cases), tuple(training), tuple(remark for remark in remarks if remark), tuple(validation)
    )


def find_predictions(name: str, folder: Path, cases: Sequence[Case], *, window: HUWindow | None = None) -> Method:
    """Return a method whose predictions are in a folder, named as in ``PREDICTION_NAMES``.

    Args:
        name: of the method.
        folder: where the files lie.
        cases: each has one there.
        window: the HU that -1 and 1 stand for in them; None: they are in HU.

    Raises:
        InputError: if a case has none, or the file is the NCCT itself.
    """
    found: dict[str, Path] = {}
    for case in cases:
        candidates = (folder / pattern.format(case=case.name) for pattern in PREDICTION_NAMES)
        path = next((path for path in candidates if os.path.isfile(path)), None)
        if path is None:
            continue
        if path.resolve() == case.ncct.resolve():
            raise InputError(f"method {name}: {path} is the NCCT of case {case.name}; give a folder of predictions")
        found[case.name] = path
    missing = [case.name for case in cases if case.name not in found]
    if missing:
        raise InputError(
            f"method {name}: {folder} holds no prediction of {listed(missing)} ({len(missing)} of {len(cases)} cases); "
            "expected {case}_syncta.nii.gz or {case}.nii.gz"
        )
    return Method(name, found, window=window)


def listed(names: Sequence[str]) -> str:
    """Join a few names and say how many more there are."""
    more = len(names) - SHOWN_CASES
    return ", ".join(names[:SHOWN_CASES]) + (f" and {more} more" if more > 0 else "")


def _pairs(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if case.cta is not None]


def _on_choice(split: str, scored: int, pairs: int, *, by_chance: bool) -> str:
    """Return what the choice of the split means for the scores; empty for test cases."""
    if split == "testing":
        return ""
    if split == ALL_SPLITS and by_chance:
        return "These are all cases of a folder that has no splits: networks trained on them have seen the answers."
    share = f"{scored} of {pairs} cases: the folder's random {split} share; --split all scores all. "
    words = share if by_chance else ""
    if split == "validation":
        return f"{words}These are validation cases."
    which = "all splits" if split == ALL_SPLITS else split
    return f"{words}These are the cases of {which}: networks trained on them have seen the answers."


def _on_remap(pairs: int) -> str:
    """Return where the HU remap was fitted, unless on the list's own training pairs."""
    if not pairs:
        return "HU remap: n/a, because there are no training pairs beside the cases scored to fit it on."
    those = "the training pair" if pairs == 1 else f"the {pairs} training pairs"
    return f"HU remap: fitted on {those} of the first run, because the list has none beside the cases scored."
