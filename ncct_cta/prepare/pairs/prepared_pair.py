"""A prepared pair, as it goes from the registration to its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...volumes.nifti import Volume


@dataclass(frozen=True)
class PreparedPair:
    """A case on its final grid.

    Args:
        ncct: defines the grid; its header contains only the geometry.
        images: by kind, (X, Y, Z): int16 HU of ncct and cta, uint8 masks of lung and vessel.
        before: int16 HU of the CTA before registration, positioned by the scanner's coordinates.
        scores: results of ``quality.measure`` and ``quality.contrast_scores``.
    """

    ncct: Volume
    images: Mapping[str, np.ndarray]
    before: np.ndarray
    scores: Mapping[str, float]
