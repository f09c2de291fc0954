"""Which vessels did a prediction invent, which did it miss, and how large are they?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from ..common.keys import BODY
from .case_images import ComparedImages, prediction_in_air
from .distances import beyond
from .false_enhancement import false_enhancement_hu
from .found_vessels import EDGE_MM, FoundVessels, find_vessels
from .metric import Metric
from .tissues import MUSCLE, surroundings_of_case, vessels_of_cta

TOLERANCE_MM = 2.0  # the scan's own motion between NCCT and CTA, and the width of a border
MM3_PER_ML = 1000.0


class Calibre(NamedTuple):
    """A range of diameters: its name in a column, in a title, and its upper end in mm."""

    name: str
    title: str
    upper_mm: float


CALIBRES = (
    Calibre("below_2mm", "below 2 mm", 2.0),
    Calibre("2_to_5mm", "2 to 5 mm", 5.0),
    Calibre("above_5mm", "above 5 mm", math.inf),
)


# Of a voxel in ``vessel_codes``; where several meet on a line of sight, the highest is seen.
NO_VESSEL, FOUND, MISSED_CODE, FALSE_CODE = range(4)


@dataclass(frozen=True)
class ComparedVessels:
    """The vessels of a prediction and of the CTA, compared; boolean, (X, Y, Z).

    Args:
        found: of the prediction, with a vessel of the CTA within ``TOLERANCE_MM``.
        false: of the prediction, without.
        missed: of the CTA, without a vessel of the prediction within ``TOLERANCE_MM``.
    """

    found: np.ndarray
    false: np.ndarray
    missed: np.ndarray


def compare_vessels(prediction: FoundVessels, cta: FoundVessels, spacing: Sequence[float]) -> ComparedVessels:
    """Compare what was found in two images.

    Only what is certain in the one and not even faint in the other counts as false or missed.

    Args:
        prediction: the vessels of the prediction.
        cta: the vessels of the CTA.
        spacing: voxel edges in mm.
    """
    false = _only_in(prediction, cta, spacing)
    return ComparedVessels(prediction.whole & ~false, false, _only_in(cta, prediction, spacing))


def _only_in(own: FoundVessels, other: FoundVessels, spacing: Sequence[float]) -> np.ndarray:
    """What is beyond the tolerance and part of a vessel that is certain there: no single voxels of noise at borders."""
    core, whole = (beyond(mask, other.faint, TOLERANCE_MM, spacing) for mask in (own.core, own.whole))
    return whole & ~beyond(whole, core, 2 * EDGE_MM, spacing)


def volumes_by_calibre(part: np.ndarray, vessels: FoundVessels, spacing: Sequence[float]) -> tuple[float, ...]:
    """The volume of a part of some vessels, in ml, for each of ``CALIBRES``.

    Voxels at the borders count by the percentage of them that is vessel. A voxel belongs to a calibre if no ball of
    the next one's lower end that reaches it fits into the vessels: granulometry (Matheron, Random Sets and Integral
    Geometry, 1975).

    Args:
        part: boolean, (X, Y, Z), within the vessels.
        vessels: what was found.
        spacing: voxel edges in mm.
    """
    if not part.any():
        return (0.0,) * len(CALIBRES)
    edge = float(np.mean(spacing))
    rim = (vessels.percent > 0) & ~vessels.whole
    left = part | (rim & ~beyond(rim, part, edge, spacing))
    voxel_ml = float(np.prod(spacing)) / MM3_PER_ML
    volumes = []
    for calibre in CALIBRES[-2::-1]:
        radius = calibre.upper_mm / 2
        centres = beyond(vessels.whole, ~vessels.whole, radius, spacing)
        narrower = beyond(left, centres, radius + edge, spacing)
        volumes.append(voxel_ml * vessels.percent[left & ~narrower].sum(dtype=np.float64) / 100)
        left = narrower
    volumes.append(voxel_ml * vessels.percent[left].sum(dtype=np.float64) / 100)
    return tuple(reversed(volumes))


def compared_vessels(images: ComparedImages) -> ComparedVessels:
    """The vessels of a prediction beside those of its CTA."""
    return compare_vessels(images.once(_of_prediction), images.case.once(vessels_of_cta), images.case.spacing)


def vessel_codes(images: ComparedImages) -> np.ndarray:
    """Found, missed and false vessels as one image, (X, Y, Z) uint8 in the case's box."""
    vessels = images.once(compared_vessels)
    codes = np.where(vessels.found, np.uint8(FOUND), np.uint8(NO_VESSEL))
    codes[vessels.missed] = MISSED_CODE
    codes[vessels.false] = FALSE_CODE
    return codes


def _of_prediction(images: ComparedImages) -> FoundVessels:
    """What is found in the prediction.

    What brightens all tissue makes nothing of it faint: it would excuse every vessel that is missed there.
    """
    brighter = images.once(false_enhancement_hu, MUSCLE)
    general_hu = 0.0 if math.isnan(brighter) else max(0.0, brighter)
    return find_vessels(images.once(prediction_in_air), images.case.once(surroundings_of_case), general_hu)


def _false(images: ComparedImages) -> tuple[float, ...]:
    vessels = images.once(_of_prediction)
    return volumes_by_calibre(images.once(compared_vessels).false, vessels, images.case.spacing)


def _missed(images: ComparedImages) -> tuple[float, ...]:
    vessels = images.case.once(vessels_of_cta)
    return volumes_by_calibre(images.once(compared_vessels).missed, vessels, images.case.spacing)


def _volume(
    images: ComparedImages, *, of: Callable[[ComparedImages], tuple[float, ...]], calibre: int | None = None
) -> float:
    volumes = images.once(of)
    return sum(volumes) if calibre is None else volumes[calibre]


NO_BODY = "no body was found in the NCCT"
FALSE = Metric(
    name="false_vessel_ml",
    compute=partial(_volume, of=_false),
    title="false vessels",
    short="false",
    unit="ml",
    limits=(0, math.inf),
    better="lower",
    meaning=f"volume of the prediction's vessels that are more than {TOLERANCE_MM:g} mm from any of the CTA's",
    missing=NO_BODY,
    region=BODY,
    where="vessels",
)
MISSED = Metric(
    name="missed_vessel_ml",
    compute=partial(_volume, of=_missed),
    title="missed vessels",
    short="missed",
    unit="ml",
    limits=(0, math.inf),
    better="lower",
    meaning=f"volume of the CTA's vessels that are more than {TOLERANCE_MM:g} mm from any of the prediction's",
    missing=NO_BODY,
    region=BODY,
    where="vessels",
)


def _of_calibre(metric: Metric, number: int) -> Metric:
    calibre = CALIBRES[number]
    return replace(
        metric,
        name=metric.name.replace("_ml", f"_{calibre.name}_ml"),
        compute=partial(metric.compute, calibre=number),
        title=f"{metric.title}, {calibre.title}",
        meaning=f"the same, of vessels with a diameter {calibre.title}",
    )


METRICS = tuple(
    each
    for metric in (FALSE, MISSED)
    for each in (metric, *(_of_calibre(metric, number) for number in range(len(CALIBRES))))
)
