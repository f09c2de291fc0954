"""A prediction's file as HU on the NCCT's grid, whatever program wrote it."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..common.errors import InputError
from ..common.hu import HUWindow
from ..volumes.nifti import Volume, read_values, require_same_grid
from ..volumes.orientation import oriented_like
from .results import Method

# A network without a clamp at its end leaves [-1, 1] a little.
MOST_SCALED = 1.5


def read_prediction(method: Method, case: str, ncct: Volume) -> np.ndarray:
    """Read a case's prediction: (X, Y, Z) in HU, in the NCCT's axis order.

    Args:
        method: whose; with a ``window`` its values lie in [-1, 1] and are scaled back.
        case: its name.
        ncct: the case's NCCT.

    Raises:
        InputError: if the file can't be read, lies on another grid, or holds something else than it should.
    """
    path = method.predictions[case]
    values = read_values(path)
    if method.window is not None:
        values = _in_hu(values, method.window)
    elif method.made_elsewhere:
        _require_not_scaled(values)
    prediction = oriented_like(values, ncct)  # other programs may write RAS where the NCCT is LPS
    require_same_grid(ncct, prediction, names=("the NCCT", f"the prediction {path}"))
    return prediction.array


def _in_hu(volume: Volume, window: HUWindow) -> Volume:
    low, high = float(volume.array.min()), float(volume.array.max())
    if max(-low, high) > MOST_SCALED or low >= 0:
        raise InputError(
            f"{volume.path}: the values lie in [{low:g}, {high:g}], expected [-1, 1] because of --pred-window; leave "
            "it out for a prediction in HU, and turn other values into HU"
        )
    return dataclasses.replace(volume, array=window.denormalise(volume.array.astype(np.float32)))


def _require_not_scaled(volume: Volume) -> None:
    """Refuse a prediction scaled to [-1, 1], with the formula and the option that mend it."""
    low, high = float(volume.array.min()), float(volume.array.max())
    if -MOST_SCALED <= low < 0 < high <= MOST_SCALED:
        raise InputError(
            f"{volume.path}: the values lie in [{low:g}, {high:g}], expected HU; give --pred-window LOWER UPPER, the "
            "HU that -1 and 1 stand for: HU = LOWER + (x + 1) / 2 * (UPPER - LOWER)"
        )
