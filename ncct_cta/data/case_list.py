"""The cases of every split: a datalist's, or those of a folder."""

from __future__ import annotations

import random
from pathlib import Path

from ..common.errors import InputError, reason_of
from .case_folder import cases_of_folder
from .cases import DATALIST, KINDS, Case, shown_path
from .datalist import read_datalist


def read_case_list(source: str | Path, *, val_fraction: float = 0.15, seed: int = 0) -> dict[str, list[Case]]:
    """Read the cases of every split.

    Args:
        source: a datalist in MONAI's form (``{"training": [{"ncct": ..., "cta": ...}, ...], ...}``, paths relative
            to it), a folder that holds a ``datalist.json``, a folder of ``{case}_{ncct,cta,lung,vessel}.nii.gz``, or a
            folder of one folder per case with ``NCCT.nii.gz`` and ``CTA.nii.gz``.
        val_fraction: fraction of a folder's pairs used for validation; unless it is 0, at least one of two or more.
        seed: seed of a folder's split; the same names and seed give the same split on every machine.

    Returns:
        A list for every name in ``SPLITS``, which may be empty. Every case of training and validation has a CTA.

    Raises:
        InputError: if the source or a file it names is missing, or can't be parsed, or lists a case twice.
    """
    source = Path(source)
    try:
        is_folder, holds_list = source.is_dir(), (source / DATALIST).exists()
    except OSError as error:
        raise InputError(
            f"{shown_path(source)}: can't be read ({reason_of(error)}); check the path and permissions"
        ) from error
    if is_folder and not holds_list:
        return _split(cases_of_folder(source), val_fraction, seed)
    return read_datalist(source / DATALIST if is_folder else source, required=KINDS)


def _split(cases: list[Case], val_fraction: float, seed: int) -> dict[str, list[Case]]:
    if not 0 <= val_fraction < 1:
        raise InputError(f"val_fraction is {val_fraction}, expected 0 <= val_fraction < 1")
    pairs = [case for case in cases if case.cta is not None]
    random.Random(seed).shuffle(pairs)
    n_val = 0
    if val_fraction > 0 and len(pairs) >= 2:
        n_val = min(max(1, round(val_fraction * len(pairs))), len(pairs) - 1)
    return {
        "training": sorted(pairs[n_val:], key=lambda case: case.name),
        "validation": sorted(pairs[:n_val], key=lambda case: case.name),
        "testing": [case for case in cases if case.cta is None],
    }
