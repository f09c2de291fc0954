"""The DICOM series of a folder as cases to synthesise, named by pseudonyms."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..common.errors import InputError
from ..data.cases import Case
from ..dicom.derived import write_derived_series
from ..dicom.headers import files_below, is_dicom
from ..dicom.patients import add_to_keys
from ..dicom.pseudonyms import KeyTable
from ..dicom.series import Series, choose_series, find_series
from ..volumes.nifti import nifti_suffix

logger = logging.getLogger(__name__)

ALL = "all"


def holds_dicom_only(folder: Path) -> bool:
    """Whether DICOM, and no NIfTI file, lies in a folder."""
    try:
        if not folder.is_dir() or any(nifti_suffix(path) for path in folder.iterdir()):
            return False
    except OSError:  # read_inputs says what is wrong with it
        return False
    return any(is_dicom(path) for path in files_below(folder))


def read_dicom_inputs(folder: Path, key_file: Path, names: Sequence[str] = ()) -> list[Case]:
    """Find the DICOM series to run on.

    Args:
        folder: searched with its subfolders.
        key_file: the key table, which takes up the series and their patients; it is made where there is none, and
            its pseudonyms stay the same where there is one.
        names: pseudonyms of the series wanted, or ``all``; by default the only one.

    Returns:
        A case a series, named ``{patient}_{series}``.

    Raises:
        InputError: if there is no CT volume, if a name is unknown, or if there are several and none is named.
    """
    inventory = find_series(folder)
    if not inventory.volumes:
        raise InputError(f"the input folder holds no CT volume, expected a DICOM series: {inventory.why_none}")
    keys = KeyTable.open(key_file)
    cases: dict[str, Case] = {}
    series_of: dict[str, Series] = {}
    for series in inventory.volumes:
        patient, name = add_to_keys(series, keys)
        source, key = keys.source_of(name)
        cases[name], series_of[name] = Case(f"{patient}_{name}", source, series=key), series
    keys.write(key_file)
    logger.info("%s says which patient is which: the only file that does, keep it safe", key_file)
    unknown = [name for name in names if name not in (ALL, *cases)]
    if unknown or (len(cases) > 1 and not names):
        found = "; ".join(f"{name}: {series.summary}" for name, series in series_of.items())
        problem = f"there is no series {', '.join(unknown)}" if unknown else f"there are {len(cases)} CT series"
        raise InputError(
            f"{problem} in the input folder; choose by --series NAME [NAME ...] or --series {ALL}: {found}"
        )
    chosen = [name for name in cases if not names or ALL in names or name in names]
    for name in chosen:
        if series_of[name].names_contrast:
            logger.warning("%s: its header says that contrast was given; expected a non-contrast CT", name)
        if series_of[name].remark:
            logger.warning("%s: %s", name, series_of[name].remark)
    return [cases[name] for name in chosen]


class DerivedSeriesWriter:
    """Writes the synthetic CTA of a case from ``read_dicom_inputs`` as a DICOM series.

    Args:
        model: identifies the trained network.
    """

    def __init__(self, model: str) -> None:
        self.model = model

    def __call__(self, case: Case, hu: np.ndarray, folder: Path) -> None:
        """Write (X, Y, Z) int16 HU; see ``dicom.derived.write_derived_series``."""
        write_derived_series(hu, choose_series(case.ncct, case.series), folder, model=self.model)
