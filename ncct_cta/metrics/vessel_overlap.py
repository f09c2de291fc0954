"""Do the vessels run where they should? Overlap of what one threshold finds in the prediction and in the CTA."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from ..common.hu import CONTRAST_LOWER_HU
from ..common.keys import BODY
from .case_images import CaseImages, ComparedImages
from .metric import Metric, ratio
from .regions import bright_without_contrast, thresholded_vessels

NAN = float("nan")
LEAST_BRANCH_MM = 5.0
NO_VESSEL = f"the CTA shows no vessel above {CONTRAST_LOWER_HU} HU"


def dice(found: np.ndarray, true: np.ndarray) -> float:
    """``2 |A and B| / (|A| + |B|)`` of boolean masks; NaN where both are empty."""
    size = int(np.count_nonzero(found)) + int(np.count_nonzero(true))
    return 2 * int(np.count_nonzero(found & true)) / size if size else NAN


def centreline(mask: np.ndarray) -> np.ndarray:
    """The 3-D skeleton of a boolean mask, boolean (Lee, Kashyap and Chu, CVGIP 1994, by scikit-image)."""
    skeleton = np.zeros(mask.shape, bool)
    sides = ndimage.find_objects(mask.view(np.uint8))
    if sides:
        skeleton[sides[0]] = skeletonize(mask[sides[0]]) > 0
    return skeleton


def centreline_dice(
    found: np.ndarray, true: np.ndarray, found_centreline: np.ndarray, true_centreline: np.ndarray
) -> float:
    """Centreline Dice, clDice (Shit et al., CVPR 2021): do the vessels run where they should, whatever their width?

    The harmonic mean of the fraction of the found vessels' centreline inside the true vessels, and of the fraction of
    the true centreline inside the found ones.

    Args:
        found: boolean, (X, Y, Z).
        true: boolean, same shape.
        found_centreline: ``centreline(found)``, same shape.
        true_centreline: ``centreline(true)``, same shape.

    Returns:
        0 where nothing is found, NaN where there is nothing to find.
    """
    if not true.any():
        return NAN
    precision = _part_inside(found_centreline, true)
    sensitivity = _part_inside(true_centreline, found)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def branches(line: np.ndarray, spacing: Sequence[float]) -> int:
    """How many branches a centreline has: its parts between forks and ends, without spurs below ``LEAST_BRANCH_MM``.

    Args:
        line: boolean, (X, Y, Z), as ``centreline`` returns it.
        spacing: voxel edges in mm.
    """
    points = np.argwhere(line)
    touching = cKDTree(points).query_pairs(math.sqrt(3) + 0.01, output_type="ndarray")
    fork = np.bincount(touching.ravel(), minlength=len(points)) > 2
    kept = touching[~fork[touching].any(axis=1)]
    graph = coo_matrix((np.ones(len(kept)), kept.T), shape=(len(points),) * 2)
    _, part = connected_components(graph, directed=False)
    voxels = np.bincount(part[~fork])
    return int(np.count_nonzero(voxels * float(np.mean(spacing)) >= LEAST_BRANCH_MM))


def _part_inside(line: np.ndarray, mask: np.ndarray) -> float:
    voxels = int(np.count_nonzero(line))
    return int(np.count_nonzero(line & mask)) / voxels if voxels else 0.0


# Without vessels in the CTA all are n/a for every prediction, so that methods are averaged over the same cases.
def _dice(images: ComparedImages) -> float:
    true = images.case.once(_true_vessels)
    return dice(images.once(_found_vessels), true) if true.any() else NAN


def _centreline_dice(images: ComparedImages) -> float:
    true = images.case.once(_true_vessels)
    lines = images.once(_found_centreline), images.case.once(centreline_of_cta)
    return centreline_dice(images.once(_found_vessels), true, *lines) if true.any() else NAN


def _volume_ratio(images: ComparedImages) -> float:
    return ratio(
        *(int(np.count_nonzero(mask)) for mask in (images.once(_found_vessels), images.case.once(_true_vessels)))
    )


def _branch_ratio(images: ComparedImages) -> float:
    lines = images.once(_found_centreline), images.case.once(centreline_of_cta)
    return ratio(*(branches(line, images.case.spacing) for line in lines))


def _found_vessels(images: ComparedImages) -> np.ndarray:
    case = images.case
    return thresholded_vessels(images.prediction, case.masks[BODY], case.once(bright_of_case), case.spacing)


def _found_centreline(images: ComparedImages) -> np.ndarray:
    return centreline(images.once(_found_vessels))


def _true_vessels(case: CaseImages) -> np.ndarray:
    return thresholded_vessels(case.cta, case.masks[BODY], case.once(bright_of_case), case.spacing)


def centreline_of_cta(case: CaseImages) -> np.ndarray:
    """The centreline of the vessels that the threshold finds in the CTA."""
    return centreline(case.once(_true_vessels))


def bright_of_case(case: CaseImages) -> np.ndarray:
    """What is bright without contrast in a case's NCCT."""
    return bright_without_contrast(case.ncct, case.spacing)


METRICS = (
    Metric(
        name="vessel_dice",
        compute=_dice,
        title="Dice of thresholded vessels",
        short="Dice",
        unit="",
        limits=(0, 1),
        better="higher",
        meaning="overlap of the vessels that one threshold finds in prediction and CTA",
        missing=NO_VESSEL,
        where="vessels",
    ),
    Metric(
        name="vessel_cldice",
        compute=_centreline_dice,
        title="centreline Dice of thresholded vessels",
        short="clDice",
        unit="",
        limits=(0, 1),
        better="higher",
        meaning="the same overlap along the vessels' centrelines: small vessels count as much as large ones",
        missing=NO_VESSEL,
        where="vessels",
    ),
    Metric(
        name="vessel_volume_ratio",
        compute=_volume_ratio,
        title="volume of thresholded vessels / the CTA's",
        short="volume",
        unit="",
        limits=(0, math.inf),
        better="one",
        meaning="volume of the vessels that one threshold finds in the prediction over that in the CTA",
        missing=NO_VESSEL,
        where="vessels",
    ),
    Metric(
        name="vessel_branch_ratio",
        compute=_branch_ratio,
        title="branches of thresholded vessels / the CTA's",
        short="branches",
        unit="",
        limits=(0, math.inf),
        better="one",
        meaning=f"number of branches from {LEAST_BRANCH_MM:g} mm on that their centrelines have, over the CTA's",
        missing=NO_VESSEL,
        where="vessels",
    ),
)
