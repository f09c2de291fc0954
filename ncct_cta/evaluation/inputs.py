"""Which cases are scored, and which files are whose prediction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data import Case, read_case_list
from ..data.cases import ALL_SPLITS, SPLITS
from ..errors import InputError
from .results import HU_REMAP, IDENTITY, Method

# In the order of preference: as this software names them, and as others may.
PREDICTION_NAMES = ("{case}_syncta.nii.gz", "{case}_syncta.nii", "{case}.nii.gz", "{case}.nii")
SHOWN_CASES = 5


@dataclass(frozen=True)
class Source:
    """A method as the user gives it.

    Args:
        name: of the method.
        path: a folder of predictions, or a run's.
        is_run: whether it is a run, whose predictions are made first.
    """

    name: str
    path: Path
    is_run: bool


@dataclass(frozen=True)
class Chosen:
    """The cases of an evaluation.

    Args:
        cases: what is scored; each has a CTA.
        training: pairs that are not scored, to fit the HU remap on; may be empty.
        remarks: plain sentences on the choice.
    """

    cases: tuple[Case, ...]
    training: tuple[Case, ...]
    remarks: tuple[str, ...]


def parse_source(word: str, *, is_run: bool) -> Source:
    """``NAME=DIR`` or ``DIR``, whose last part is then the name.

    Raises:
        InputError: if there is no such folder, or the name can't be that of a folder.
    """
    name, given, rest = word.partition("=")
    if not given or Path(word).is_dir():  # a folder's name may hold the sign
        name, rest = Path(word).resolve().name, word
    path = Path(rest)
    if not path.is_dir():
        raise InputError(f"{rest}: there is no such folder; give a folder of {'a run' if is_run else 'predictions'}")
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise InputError(f"{word!r}: {name!r} can't name a method; expected NAME=DIR with a name without slashes")
    return Source(name, path, is_run)


def require_unique_names(sources: Iterable[Source]) -> None:
    """Two methods of one name couldn't be told apart.

    Raises:
        InputError: if a name comes twice or is a baseline's.
    """
    seen = dict.fromkeys((IDENTITY, HU_REMAP), "a baseline's")
    for source in sources:
        if source.name in seen:
            raise InputError(
                f"{source.path}: the name {source.name!r} is {seen[source.name]}; give it another: NAME={source.path}"
            )
        seen[source.name] = f"that of {source.path.parent / source.path.name} already"


def choose_cases(datalist: str | Path, split: str = "", *, val_fraction: float = 0.15, seed: int = 0) -> Chosen:
    """The cases that have a CTA: of the split given, or else of testing, of validation, or of all.

    Args:
        datalist: a case list, or a folder of cases; see ``read_case_list``.
        split: a name in ``SPLITS``, ``all``, or empty.
        val_fraction: share of a folder's cases that is validation, as in training.
        seed: of that split.

    Raises:
        InputError: if there is no such list or split, or no pair in it.
    """
    if split and split not in (*SPLITS, ALL_SPLITS):
        raise InputError(f"split {split!r}: expected {', '.join(SPLITS)} or {ALL_SPLITS}")
    splits = read_case_list(datalist, val_fraction=val_fraction, seed=seed)
    splits[ALL_SPLITS] = [case for name in SPLITS for case in splits[name]]
    wanted = (split,) if split else ("testing", "validation", ALL_SPLITS)
    name = next((name for name in wanted if _pairs(splits[name])), None)
    if name is None:
        raise InputError(
            f"{datalist}: no case of {wanted[-1]} has a CTA to compare with; list its cta, or choose another"
        )
    cases = _pairs(splits[name])
    training = [] if name in ("training", ALL_SPLITS) else _pairs(splits["training"])
    return Chosen(tuple(cases), tuple(training), tuple(_remarks(name, splits[name], cases, training)))


def find_predictions(name: str, folder: Path, cases: Sequence[Case]) -> Method:
    """A method whose predictions lie in a folder, named as in ``PREDICTION_NAMES``.

    Raises:
        InputError: if a case has none, or the NCCT itself lies in its place.
    """
    found: dict[str, Path] = {}
    for case in cases:
        candidates = (folder / pattern.format(case=case.name) for pattern in PREDICTION_NAMES)
        path = next((path for path in candidates if path.is_file()), None)
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
    return Method(name, found)


def listed(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = len(names) - SHOWN_CASES
    return ", ".join(names[:SHOWN_CASES]) + (f" and {more} more" if more > 0 else "")


def _pairs(cases: Iterable[Case]) -> list[Case]:
    return [case for case in cases if case.cta is not None]


def _remarks(name: str, split: Sequence[Case], cases: Sequence[Case], training: Sequence[Case]) -> list[str]:
    remarks = []
    if name == "validation":
        remarks.append("These are validation cases: the best checkpoint was chosen by them, so the figures flatter it.")
    elif name != "testing":
        which = "all splits" if name == ALL_SPLITS else name
        remarks.append(f"These are the cases of {which}: networks trained on them have seen the answers.")
    without = [case.name for case in split if case.cta is None]
    if without:
        remarks.append(f"Left out, because they have no CTA: {listed(without)}.")
    if not training:
        remarks.append("HU remap: n/a, because there are no training pairs beside the cases scored to fit it on.")
    return remarks
