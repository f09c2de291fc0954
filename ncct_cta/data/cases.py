"""A case, and what its name and its files must be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import InputError
from ..common.keys import SPLITS as SPLITS
from ..dicom.series import Series

ALL_SPLITS = "all"
DATALIST = "datalist.json"
KINDS = ("ncct", "cta", "lung", "vessel", "ignore")
# A file system takes names of 255 bytes at most, and outputs are called {case}_syncta_dicom, {case}-{digest} and so on.
LONGEST_NAME_BYTES = 200
SHOWN_LETTERS, LONGEST_SHOWN_PATH = 60, 160


@dataclass(frozen=True)
class Case:
    """The files of one patient's scan, all on one grid.

    Args:
        name: unique; outputs are named after it.
        ncct: the non-contrast CT.
        cta: the CTA, which training and evaluation compare with.
        lung: a lung mask.
        vessel: a vessel mask.
        ignore: a mask of what neither losses nor scores count, such as streaks beside dense contrast.
        virtual: whether ``ncct`` is no scan but made from the CTA, as ``prepare virtual`` does.
        series: where ``ncct`` is a DICOM folder, which series of it.
    """

    name: str
    ncct: Path
    cta: Path | None = None
    lung: Path | None = None
    vessel: Path | None = None
    ignore: Path | None = None
    series: Series | None = None
    virtual: bool = False


def shown(text: str) -> str:
    """A user's text as an error shows it: quoted, in characters that every terminal has, and not too long."""
    return repr(text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]}...")


def shown_path(path: Path) -> str:
    """A path as an error shows it: as it is if that is one short line, else quoted and without its middle."""
    text = str(path)
    if text.isprintable() and len(text) <= LONGEST_SHOWN_PATH:
        return text
    return repr(text if len(text) <= SHOWN_LETTERS else f"{text[: SHOWN_LETTERS // 2]}...{text[-SHOWN_LETTERS // 2 :]}")


def require_unique(splits: Mapping[str, list[Case]]) -> None:
    """Check that no case name and no NCCT occurs twice: it would leak between splits or overwrite an output.

    Raises:
        InputError: if one does.
    """
    names: dict[str, tuple[str, Case]] = {}
    files: dict[Path, tuple[str, Case]] = {}
    for split, cases in splits.items():
        for case in cases:
            if case.name in names:
                other_split, other = names[case.name]
                raise InputError(
                    f"case {case.name} stands twice: {other.ncct} ({other_split}) and {case.ncct} ({split}); "
                    "give each scan one name and one split"
                )
            resolved = case.ncct.resolve()
            if resolved in files:
                other_split, other = files[resolved]
                raise InputError(
                    f"{case.ncct} stands twice: as {other.name} ({other_split}) and {case.name} ({split}); keep one"
                )
            names[case.name] = files[resolved] = (split, case)


def expected(given: str, names: Iterable[str]) -> str:
    """Return the hint for an unknown name: the nearest valid one, or all of them."""
    names = tuple(names)
    nearest = difflib.get_close_matches(given, names, n=1, cutoff=0.4)
    return f"did you mean {nearest[0]!r}?" if nearest else f"expected {listed(names)}"


def listed(names: Iterable[str]) -> str:
    """Alternatives in a sentence."""
    *most, last = names
    return f"{', '.join(most)} or {last}"
