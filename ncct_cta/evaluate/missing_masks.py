"""Masks missing from the case list: computed, written, and reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..common.errors import InputError
from ..common.hu import ENHANCEMENT_HU
from ..common.progress import progress_bar
from ..data import Case
from ..metrics import vessel_mask_from_pair
from ..transforms.lung_mask import compute_lung_mask
from ..volumes.nifti import Volume, read_ct, require_same_grid
from ..volumes.nifti_write import write_mask_like
from ..volumes.orientation import from_ras, spacing_to_ras, to_ras
from .failures import Failure, collected
from .provenance import Provenance
from .selection import listed


def complete_masks(
    cases: Sequence[Case], folder: Path, failures: MutableMapping[str, Failure]
) -> tuple[list[Case], list[str]]:
    """Compute the missing lung and vessel masks.

    Args:
        cases: with NCCT and CTA.
        folder: folder for ``{case}_lung.nii.gz`` and ``{case}_vessel.nii.gz``; up-to-date files are reused.
        failures: gets the cases whose files can't be read or written, or whose NCCT and CTA are swapped.

    Returns:
        the other cases with their masks, None where nothing was found (no lung, no enhancement), and remarks that say
        so.
    """
    lacking = [case for case in cases if case.lung is None or case.vessel is None]
    if not lacking:
        return list(cases), []
    provenance = Provenance(folder)
    completed = {case.name: case for case in cases}
    with progress_bar(lacking, desc="masks", unit="case", leave=False) as bar:
        for case in bar:
            with collected(failures, case.name):
                completed[case.name] = _completed(case, folder, provenance)
    kept = [case for name, case in completed.items() if name not in failures]
    return kept, _on_masks([case for case in lacking if case.name not in failures], completed)


def _completed(case: Case, folder: Path, provenance: Provenance) -> Case:
    lung = case.lung or _computed(case, folder / f"{case.name}_lung.nii.gz", _lung, [case.ncct], provenance)
    pair = [case.ncct, _cta(case)]
    vessel = case.vessel or _computed(case, folder / f"{case.name}_vessel.nii.gz", _vessel, pair, provenance)
    return replace(case, lung=lung, vessel=vessel)


def _on_masks(lacking: Sequence[Case], completed: Mapping[str, Case]) -> list[str]:
    """What was computed for the cases that lacked a mask, and what wasn't found."""
    remarks = []
    for kind, meaning in (("lung", "computed from the NCCT"), ("vessel", "where the CTA enhances by over 80 HU")):
        given = [case.name for case in lacking if getattr(case, kind) is None]
        found = [name for name in given if getattr(completed[name], kind) is not None]
        if found:
            remarks.append(f"No {kind} mask was given for {listed(found)}: {meaning}.")
        if len(found) < len(given):
            none = [name for name in given if name not in found]
            remarks.append(
                f"No {kind} mask was given for {listed(none)}, and none was found: its scores are n/a there."
            )
    return remarks


def _computed(
    case: Case, path: Path, compute: Callable[[Case, Volume], np.ndarray], sources: list[Path], provenance: Provenance
) -> Path | None:
    if provenance.is_current(path, sources):
        return path
    volume = read_ct(case.ncct)
    mask = compute(case, volume)
    if not mask.any():
        return None
    write_mask_like(mask, volume, path)
    provenance.add(path, sources)
    return path


def _lung(case: Case, ncct: Volume) -> np.ndarray:
    ras, orientation = to_ras(ncct.array, ncct.affine)
    try:
        return from_ras(compute_lung_mask(ras, spacing_to_ras(ncct.spacing, orientation)), orientation)
    except InputError:  # no lung in this scan; the remarks say so
        return np.zeros(ncct.shape, np.uint8)


def _vessel(case: Case, ncct: Volume) -> np.ndarray:
    cta = read_ct(_cta(case))
    require_same_grid(ncct, cta, case=case.name)
    vessel = vessel_mask_from_pair(ncct.array, cta.array, ncct.spacing)
    if not vessel.any() and vessel_mask_from_pair(cta.array, ncct.array, ncct.spacing).any():
        raise InputError(
            f"case {case.name}: nothing enhances by over {ENHANCEMENT_HU} HU from NCCT to CTA, but vessels do from CTA "
            "to NCCT; the two are swapped: exchange ncct and cta in the case list"
        )
    return vessel


def _cta(case: Case) -> Path:
    if case.cta is None:
        raise InputError(f"case {case.name}: there is no CTA; an evaluation needs NCCT and CTA")
    return case.cta
