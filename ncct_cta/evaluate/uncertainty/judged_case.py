"""A case with its prediction and the map of uncertainty beside it, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...common.errors import InputError
from ...common.hu import to_int16_hu
from ...data import Case
from ...metrics import CaseImages
from ...metrics.spread import Interval
from ...volumes.nifti import read_ct, read_values, require_same_grid
from ...volumes.orientation import oriented_like, to_ras
from ..case_scores import case_images
from ..prediction_files import read_prediction

if TYPE_CHECKING:  # results hold what is found here
    from ..results import Method


@dataclass(frozen=True)
class JudgedCase:
    """A case as it is judged.

    Args:
        case: its files.
        images: NCCT, CTA and masks, cut to the body's box.
        prediction: in HU, in that box.
        spread: the map in HU, likewise.
        whole_prediction: on the scan's whole grid, in its axis order.
        whole_spread: likewise.
    """

    case: Case
    images: CaseImages
    prediction: np.ndarray
    spread: np.ndarray
    whole_prediction: np.ndarray
    whole_spread: np.ndarray

    @property
    def name(self) -> str:
        """The case's."""
        return self.case.name

    def interval(self, interval: Interval) -> tuple[np.ndarray, np.ndarray]:
        """Both ends in the body's box, as the files hold them: int16 HU."""
        half = interval.half_width(self.images.ncct, self.prediction, self.spread)
        return to_int16_hu(self.prediction - half), to_int16_hu(self.prediction + half)


def read_judged_case(case: Case, method: Method, path: Path) -> JudgedCase:
    """Read a case, its prediction, and its map.

    Args:
        case: with CTA and masks.
        method: with a prediction of it.
        path: the map.

    Raises:
        InputError: if a file can't be read, or the map isn't one: on another grid, or below 0 anywhere.
    """
    ncct = read_ct(case.ncct)
    images = case_images(case, ncct)
    prediction = read_prediction(method, case.name, ncct)
    found = oriented_like(read_values(path), ncct)
    require_same_grid(ncct, found, names=("the NCCT", f"the map {path}"))
    lowest = float(found.array.min())
    if not lowest >= 0:
        raise InputError(f"{path}: its lowest value is {lowest:g}, expected standard deviations; name another file _sd")
    boxed, boxed_spread = (images.cut(to_ras(array, ncct.affine)[0]) for array in (prediction, found.array))
    return JudgedCase(case, images, boxed, boxed_spread, prediction, found.array)
