"""Make virtual pairs of many contrast CTs, and write their common results."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from ...common.bulk import GIB
from ...common.errors import InputError
from ...common.folders import locked_folder, writable_folder
from ...dicom.series import find_series
from ...volumes.nifti import case_name
from ...volumes.reading import is_volume_file
from ..cohort import Budget, prepare_cases, summary, write_outcome
from ..pairs.pair_list import CASE_NAME
from ..qc_report import Report
from ..scan_source import ScanSource, most_voxels
from ..splits import check_shares
from .gates import BLOOD_MEAN, BLOOD_SPREAD, BONE, CORRELATION, MEAN_AUC, NOISE_AUC, WALL
from .one_scan import prepare_scan
from .options import RANGES
from .task import VirtualTask
from .variety import VirtualSettings

logger = logging.getLogger(__name__)

# Peak memory of a case: a base for the libraries, plus bytes per voxel.
BASE_GB, BYTES_A_VOXEL = 0.9, 60.0
REPORT = Report(
    heading="Quality of the virtual pairs",
    lead="The NCCTs are made from the CTAs by taking the iodine out: no figure from them is a figure of patients.",
    again=". Nothing is made again",
    picture="virtual NCCT, CTA and what was taken out, axial, coronal and sagittal",
    titles={
        BLOOD_MEAN: ("blood [HU]", 1),
        BLOOD_SPREAD: ("blood's spread [HU]", 1),
        NOISE_AUC: ("AUC of the local noise, vessel against muscle", 2),
        MEAN_AUC: ("AUC of the local mean", 2),
        CORRELATION: ("NCCT-CTA correlation, vessel against muscle", 2),
        WALL: ("rim at the walls [HU]", 1),
        BONE: ("darkest bone, darker than in the scan by [HU]", 1),
    },
    worst=BLOOD_MEAN,
)


def run(options: argparse.Namespace) -> int:
    """Make a virtual pair of every scan; return the number of those that failed.

    Raises:
        InputError: if an option can't be used or there is no scan.
    """
    check_shares(options.split)
    settings = VirtualSettings(seed=options.seed, **{name: tuple(getattr(options, name)) for name in RANGES})
    budget = Budget(options.jobs, options.memory_gb, options.scheduler)
    sources = find_scans(options.scans)
    unknown = sorted(set(options.accept) - set(sources))
    if unknown:
        raise InputError(f"--accept {unknown[0]}: there is no such case; expected one of {', '.join(sorted(sources))}")
    tasks = [
        VirtualTask(case, patient, options.output, settings, source, _mask(options.masks, case))
        for case, (patient, source) in sources.items()
    ]
    with locked_folder(writable_folder(options.output)):
        outcome = prepare_cases(tasks, prepare_scan, _estimate_gb, budget, options.accept)
        write_outcome(
            outcome,
            options.output,
            REPORT,
            shares=options.split,
            seed=options.seed,
            kinds=VirtualTask.kinds,
            virtual=True,
        )
    print(summary(outcome, options.output, given=len(tasks)))
    return len(outcome.failures)


def find_scans(paths: Sequence[Path]) -> dict[str, tuple[str, ScanSource]]:
    """The scans by the case's name, each with its patient: a file's by the file, a DICOM series' by a number.

    Raises:
        InputError: if a path holds no scan, or two would have one name.
    """
    found: dict[str, tuple[str, ScanSource]] = {}
    for path in paths:
        for name, source in _scans_of(path, len(found)):
            name = re.sub(r"[^A-Za-z0-9._-]", "_", name)
            if name in found or not CASE_NAME.fullmatch(name):
                raise InputError(f"{source.label}: the case {name} stands twice or can't name files; rename the file")
            found[name] = (name, source)
    return found


def _scans_of(path: Path, count: int) -> list[tuple[str, ScanSource]]:
    if not path.is_dir():
        return [(case_name(path), ScanSource(path, None, path.name))]
    files = sorted(file for file in path.iterdir() if is_volume_file(file) and not file.name.startswith("."))
    if files:
        return [(case_name(file), ScanSource(file, None, file.name)) for file in files]
    inventory = find_series(path)
    if not inventory.volumes:
        raise InputError(f"{path}: {inventory.why_none}")
    return [
        (f"series{count + number:03d}", ScanSource(path, series.key, series.label, series))
        for number, series in enumerate(inventory.volumes, 1)
    ]


def _mask(folder: Path | None, case: str) -> Path | None:
    """The user's own mask of a case; a scan without one has its blood found."""
    path = None if folder is None else folder / f"{case}.nii.gz"
    return path if path is not None and path.exists() else None


def _estimate_gb(task: VirtualTask) -> float:
    return BASE_GB + BYTES_A_VOXEL * most_voxels(task.cta) / GIB
