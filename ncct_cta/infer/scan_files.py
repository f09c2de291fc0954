"""Which scans an inference runs on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..common.errors import InputError
from ..data.cases import ALL_SPLITS, DATALIST, SPLITS, Case, expected, nifti_files, read_datalist, require_unique
from ..volumes.nifti import case_name, nifti_suffix

# What stands beside the NCCTs in a folder and is no input: the pair's other files, and what this software writes.
NOT_INPUTS = ("cta", "lung", "vessel", "syncta", "coarse", "intermediate", "refined", "body", "mask")
NO_INPUT = re.compile(rf".*_({'|'.join(NOT_INPUTS)})\.nii(\.gz)?", re.IGNORECASE)
FROM_DICOM = "python -m ncct_cta.prepare converts DICOM"


def read_inputs(source: str | Path, *, split: str | None = None) -> list[Case]:
    """Find the NCCTs to run on.

    Args:
        source: a NIfTI file, a folder of them (any name; ``NOT_INPUTS`` and hidden files are passed over), or a
            datalist.
        split: of a datalist: a name in ``SPLITS``, or ``all``; by default testing, or all where that is empty. Of a
            folder it takes the list in it.

    Raises:
        InputError: if there is nothing to run on, or if two inputs would give outputs of the same name.
    """
    source = Path(source)
    if split and (source / DATALIST).is_file():
        source = source / DATALIST
    if source.suffix.lower() == ".json":
        # Inference needs no CTA: a list may name files that stayed on another machine.
        cases = _choose_split(read_datalist(source, required=("ncct",)), source, split)
    elif split and source.exists():
        raise InputError(f"{source}: has no splits, expected a case list ({DATALIST}); leave out the split {split!r}")
    elif source.is_dir():
        found = nifti_files(source)
        cases = [Case(case_name(path), path) for path in found if not NO_INPUT.fullmatch(path.name)]
        if not found:
            raise InputError(f"{source}: holds no NIfTI file, expected .nii or .nii.gz; {FROM_DICOM}")
        if not cases:
            raise InputError(
                f"{source}: none of its {len(found)} NIfTI files is an NCCT, expected .nii or .nii.gz files other "
                f"than masks and CTAs; {FROM_DICOM}"
            )
    elif not source.exists():
        raise InputError(f"{source}: there is no such file or folder; check the path")
    elif not nifti_suffix(source):
        raise InputError(
            f"{source}: expected a NIfTI file (.nii or .nii.gz), a folder of them, a datalist (.json) or a DICOM folder"
        )
    else:
        cases = [Case(case_name(source), source)]
    require_unique({"input": cases})
    return cases


def _choose_split(splits: Mapping[str, list[Case]], source: Path, split: str | None) -> list[Case]:
    if split is not None and split not in (*SPLITS, ALL_SPLITS):
        raise InputError(f"split {split!r}: {expected(split, (*SPLITS, ALL_SPLITS))}")
    everything = [case for cases in splits.values() for case in cases]
    cases = everything if split == ALL_SPLITS else splits[split or "testing"] or ([] if split else everything)
    if not cases:
        raise InputError(f"{source}: the split {split!r} is empty, expected at least one case; choose another split")
    return cases
