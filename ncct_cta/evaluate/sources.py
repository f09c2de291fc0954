"""The methods of an evaluation, as the user names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..common.errors import InputError


@dataclass(frozen=True)
class MethodSource:
    """A method as the user gives it.

    Args:
        name: of the method.
        path: a folder of predictions, or a run's.
        is_run: whether it is a run, whose predictions are made first.
    """

    name: str
    path: Path
    is_run: bool


def parse_source(word: str, *, is_run: bool) -> MethodSource:
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
    return MethodSource(name, path, is_run)
