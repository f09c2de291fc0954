"""The DICOM series of a folder as cases to synthesise, named by pseudonyms."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ..common.errors import InputError
from ..data.cases import Case
from ..dicom.derived import write_derived_series
from ..dicom.headers import is_dicom
from ..dicom.patients import add_to_keys
from ..dicom.pseudonyms import KeyTable
from ..dicom.search import files_below
from ..dicom.series import Series, find_series
from ..volumes.nifti import scan_suffix
from .scan_files import NO_INPUT, files_of_cases

logger = logging.getLogger(__name__)

ALL = "all"
LISTED = 3  # series that a message names: it stays a line


def holds_dicom_only(folder: Path) -> bool:
    """Whether DICOM, and no file with a scan, lies in a folder; of the folders in it NCCTs alone count."""
    try:
        if not folder.is_dir() or any(scan_suffix(path) for path in folder.iterdir()):
            return False
        if any(not NO_INPUT.fullmatch(path.name) for path in files_of_cases(folder)):
            return False
    except (OSError, InputError):  # read_inputs reports what is wrong
        return False
    return any(is_dicom(path) for path in files_below(folder))


def read_dicom_inputs(folder: Path, key_file: Path, names: Sequence[str] = ()) -> list[Case]:
    """Find the DICOM series to run on.

    Args:
        folder: searched with its subfolders.
        key_file: the key table, to which the series and their patients are added; it is created if missing, and
            existing pseudonyms are kept.
        names: pseudonyms of the series wanted, or ``all``; by default the only series.

    Returns:
        A case per series, named ``{patient}_{series}``.

    Raises:
        InputError: if there is no CT volume, if a name is unknown, or if there are several volumes and none is named.
    """
    inventory = find_series(folder)
    if not inventory.volumes:
        raise InputError(f"the input folder holds no CT volume, expected a DICOM series: {inventory.why_none}")
    keys = KeyTable.open(key_file)
    cases: dict[str, Case] = {}
    found: dict[str, Series] = {}
    for series in inventory.volumes:
        patient, name = add_to_keys(series, keys)
        cases[name], found[name] = Case(f"{patient}_{name}", folder, series=series), series
    keys.write(key_file)
    logger.info("%s says which patient is which: the only file that does, keep it safe", key_file)
    chosen = _chosen(found, names)
    for name in chosen:
        if found[name].names_contrast:
            logger.warning("%s: its header says that contrast was given; expected a non-contrast CT", name)
        if found[name].remark:
            logger.warning("%s: %s", name, found[name].remark)
    return [cases[name] for name in chosen]


def _chosen(found: Mapping[str, Series], names: Sequence[str]) -> list[str]:
    """The pseudonyms of the series to run on, of those found."""
    unknown = [name for name in names if name not in (ALL, *found)]
    if unknown or (len(found) > 1 and not names):
        summaries = "; ".join(f"{name}: {series.summary}" for name, series in islice(found.items(), LISTED))
        if len(found) > LISTED:
            summaries += "; and others, listed above"
            for name, series in found.items():
                logger.info("%s: %s", name, series.summary)
        problem = f"there is no series {', '.join(unknown)}" if unknown else f"there are {len(found)} CT series"
        raise InputError(
            f"{problem} in the input folder; choose by --series NAME [NAME ...] or --series {ALL}: {summaries}"
        )
    return [name for name in found if not names or ALL in names or name in names]


class DerivedSeriesWriter:
    """Writes the synthetic CTA of a case from ``read_dicom_inputs`` as a DICOM series.

    Args:
        model: identifies the trained network.
    """

    def __init__(self, model: str) -> None:
        self.model = model

    def __call__(self, case: Case, hu: np.ndarray, folder: Path) -> None:
        """Write (X, Y, Z) int16 HU; see ``dicom.derived.write_derived_series``."""
        if case.series is None:
            raise ValueError(f"case {case.name} has no DICOM series; only one from read_dicom_inputs has")
        write_derived_series(hu, case.series, folder, model=self.model)
