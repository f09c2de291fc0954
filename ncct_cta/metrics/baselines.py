"""The baseline that every network must beat in addition to the identity."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..common.hu import SYNTHRAD_RANGE_HU, to_int16_hu


class HURemap:
    """The baseline that knows intensities and no anatomy: the training pairs' mean CTA value for each NCCT value."""

    def __init__(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Fit on pairs (NCCT, CTA) of arrays in whole or fractional HU; values that no pair holds stay as they are."""
        low, high = SYNTHRAD_RANGE_HU
        size = high - low + 1
        counts, sums = np.zeros(size), np.zeros(size)
        for ncct_hu, cta_hu in pairs:
            inside = (ncct_hu >= low) & (ncct_hu <= high)  # without the -3024 that scanners pad with
            values = _nearest(ncct_hu[inside]) - low
            counts += np.bincount(values, minlength=size)
            sums += np.bincount(values, weights=cta_hu[inside], minlength=size)
        identity = np.arange(low, high + 1, dtype=np.float64)
        self.table = to_int16_hu(np.where(counts > 0, sums / np.maximum(counts, 1), identity))

    def __call__(self, ncct_hu: np.ndarray) -> np.ndarray:
        """Predict a CTA in HU, int16, same shape; values outside the table stay as they are."""
        low, high = SYNTHRAD_RANGE_HU
        values = np.asarray(ncct_hu)
        inside = (values >= low) & (values <= high)
        mapped = self.table[_nearest(np.clip(values, low, high)) - low]
        return np.where(inside, mapped, to_int16_hu(values))


def _nearest(hu: np.ndarray) -> np.ndarray:
    """Round to integer HU: truncation towards 0 would make lungs too bright and vessels too dark."""
    return np.rint(hu).astype(np.int64)
