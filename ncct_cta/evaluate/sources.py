"""The methods of an evaluation, as the user names them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..common.errors import InputError
from ..common.names import require_file_name, shortened


@dataclass(frozen=True)
class MethodSource:
    """A method as the user gives it.

    Args:
        name: of the method.
        path: a folder of predictions, or a run's.
        is_run: whether it is a run, whose predictions are synthesised first.
        is_baseline: whether the user wants it beside the identity and the HU remap, such as a plain UNet's run.
    """

    name: str
    path: Path
    is_run: bool
    is_baseline: bool = False


def parse_source(word: str, *, is_run: bool, is_baseline: bool = False) -> MethodSource:
    """Parse ``NAME=DIR``, or ``DIR``, whose last component is then the name.

    Raises:
        InputError: if there is no such folder, or the name can't be a folder's.
    """
    name, given, rest = word.partition("=")
    if not given or os.path.isdir(word):  # a folder's name may contain an equals sign
        name, rest = Path(word).resolve().name, word
    if not os.path.isdir(rest):
        kind = "a run" if is_run else "predictions"
        raise InputError(f"{shortened(rest)}: there is no such folder; give a folder of {kind}")
    require_file_name(name, f"{shortened(rest)}: the name of the method,")
    return MethodSource(name, Path(rest), is_run, is_baseline)
