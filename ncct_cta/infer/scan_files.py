"""Find the scans to synthesise from."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ..common.errors import InputError
from ..data.case_folder import files_with
from ..data.cases import ALL_SPLITS, DATALIST, SPLITS, Case, expected, require_unique
from ..data.datalist import read_datalist
from ..volumes.nifti import case_name, scan_suffix

logger = logging.getLogger(__name__)

# Files next to the NCCTs that aren't inputs: the other files of a pair, and what this software writes.
NOT_INPUTS = ("cta", "lung", "vessel", "syncta", "coarse", "intermediate", "refined", "body", "mask")
PLAIN = ("cta", "lungs?", "vessels?", "body", "mask")  # as a file's whole name, in a folder of its case
NO_INPUT = re.compile(rf"(.*_({'|'.join(NOT_INPUTS)})|{'|'.join(PLAIN)})\.((nii|img)(\.gz)?|nrrd|mha)", re.IGNORECASE)
# Folders of masks, as TotalSegmentator and the Medical Segmentation Decathlon name them.
NO_SCANS = re.compile(r"\..*|segmentations?|labels?(Tr|Ts|Va)?|masks?", re.IGNORECASE)
FROM_DICOM = "python -m ncct_cta.prepare converts DICOM"


def read_inputs(source: str | Path, *, split: str | None = None) -> list[Case]:
    """Find the NCCTs to run on.

    Args:
        source: a NIfTI, NRRD or MHA file, a folder of them, a folder of one folder per case, or a datalist. Of a folder
            any name is taken but ``NOT_INPUTS`` and hidden files; where it holds a ``datalist.json``, that says what is
            in it.
        split: of a datalist: a name in ``SPLITS``, or ``all``; by default testing, or all where that is empty.

    Raises:
        InputError: if there is nothing to run on, or if two outputs would have the same name.
    """
    source = Path(source)
    if (source / DATALIST).is_file():
        source = source / DATALIST
    if source.suffix.lower() == ".json":
        # Inference needs no CTA: a list may name CTAs that aren't on this machine.
        cases = _choose_split(read_datalist(source, required=("ncct",)), source, split)
    elif split and source.exists():
        raise InputError(f"{source}: has no splits, expected a case list ({DATALIST}); leave out the split {split!r}")
    elif source.is_dir():
        cases = _cases_of_folder(source)
    elif not source.exists():
        raise InputError(f"{source}: there is no such file or folder; check the path")
    elif not scan_suffix(source):
        raise InputError(
            f"{source}: expected a file with a whole scan (.nii, .nii.gz, .nrrd, .mha), a folder of them, a datalist "
            "(.json) or a DICOM folder"
        )
    else:
        cases = [Case(case_name(source.absolute()), source)]
    require_unique({"input": cases})
    return cases


def _cases_of_folder(folder: Path) -> list[Case]:
    """The NCCTs of a folder, or else of the folders in it."""
    found = files_with(scan_suffix, folder) or files_of_cases(folder)
    if not found:
        raise InputError(f"{folder}: holds no scan, expected .nii, .nii.gz, .nrrd or .mha; {FROM_DICOM}")
    paths = [path for path in found if not NO_INPUT.fullmatch(path.name) and not _is_spread(path)]
    if not paths:
        raise InputError(
            f"{folder}: none of its {len(found)} files is an NCCT, expected .nii, .nii.gz, .nrrd or .mha files other "
            f"than masks and CTAs; {FROM_DICOM}"
        )
    names = [case_name(path.absolute()) for path in paths]
    folders = Counter(name for name, _ in {(name, path.parent) for name, path in zip(names, paths, strict=True)})
    # Files of one name in several folders are told apart by both.
    return [
        Case(name if folders[name] == 1 else f"{path.parent.name}_{name}", path)
        for name, path in zip(names, paths, strict=True)
    ]


def _is_spread(path: Path) -> bool:
    """Whether a file is what ``--uncertainty`` writes beside a synthetic CTA; elsewhere ``_sd`` may be a dose."""
    case = path.name.removesuffix("_sd.nii.gz")
    return case != path.name and path.with_name(f"{case}_syncta.nii.gz").is_file()


def files_of_cases(folder: Path) -> list[Path]:
    """The scans in the folders of a folder, as where each case has its own; those of masks are passed over."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and not NO_SCANS.fullmatch(path.name))
    return [path for each in inner for path in files_with(scan_suffix, each)]


def _choose_split(splits: Mapping[str, list[Case]], source: Path, split: str | None) -> list[Case]:
    if split is not None and split not in (*SPLITS, ALL_SPLITS):
        raise InputError(f"split {split!r}: {expected(split, (*SPLITS, ALL_SPLITS))}")
    everything = [case for cases in splits.values() for case in cases]
    cases = everything if split == ALL_SPLITS else splits[split or "testing"] or ([] if split else everything)
    if not cases:
        raise InputError(f"{source}: the split {split!r} is empty, expected at least one case; choose another split")
    if split is None and len(cases) < len(everything):
        logger.info("%s: its %d testing cases of %d; --split all takes all", source, len(cases), len(everything))
    return cases
