"""Is there contrast in the vessels: how much of it, how evenly, and against how much noise?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..common.hu import ENHANCEMENT_HU
from ..common.keys import BODY, LUNG, VESSEL
from .case_images import CaseImages, ComparedImages
from .metric import Metric, ratio
from .regions import near_vessels, tissue_beside

NAN = float("nan")
BLOCK_MM = 20.0  # regions of the recovery's spread: large against noise, small against the aorta
LEAST_BLOCK_MM3 = 200.0
NO_NOISE = "no soft tissue with noise lies beside the vessels"


def enhancement_recovery(
    prediction_hu: np.ndarray, ncct_hu: np.ndarray, cta_hu: np.ndarray, vessel: np.ndarray
) -> float:
    """``mean(prediction - NCCT) / mean(CTA - NCCT)`` over vessels: 1 is perfect, 0 is the identity; NaN without any."""
    mask = vessel > 0
    if not mask.any():
        return NAN
    ncct = ncct_hu[mask].astype(np.float64)
    true_enhancement = (cta_hu[mask] - ncct).mean()
    return float((prediction_hu[mask] - ncct).mean() / true_enhancement) if true_enhancement else NAN


def enhancement_recovery_spread(
    prediction_hu: np.ndarray,
    ncct_hu: np.ndarray,
    cta_hu: np.ndarray,
    vessel: np.ndarray,
    spacing: Sequence[float],
) -> float:
    """How unevenly the enhancement is recovered: the SD of the recovery over the vessels' regions.

    The volume is cut into cubes of ``BLOCK_MM``; in each that holds ``LEAST_BLOCK_MM3`` of vessels which enhance by
    80 HU or more, the recovery is ``mean(prediction - NCCT) / mean(CTA - NCCT)``. Single voxels are not compared: there
    noise would be divided by noise. Each cube is weighted by its vessel volume.

    Args:
        prediction_hu: (X, Y, Z) in HU.
        ncct_hu: the input, same shape.
        cta_hu: the truth, same shape.
        vessel: vessel mask, same shape.
        spacing: voxel edges in mm.

    Returns:
        0 if the recovery is the same everywhere, even if that is 0; NaN with fewer than two such cubes.
    """
    mask = vessel > 0
    where = np.nonzero(mask)
    cubes = [(axis * edge // BLOCK_MM).astype(np.int64) for axis, edge in zip(where, spacing, strict=True)]
    cube = np.ravel_multi_index(
        cubes, [int(n * edge // BLOCK_MM) + 1 for n, edge in zip(mask.shape, spacing, strict=True)]
    )
    ncct = ncct_hu[where].astype(np.float64)
    counts = np.bincount(cube)
    predicted, true = (np.bincount(cube, weights=image[where] - ncct) for image in (prediction_hu, cta_hu))
    kept = (counts * float(np.prod(spacing)) >= LEAST_BLOCK_MM3) & (true >= ENHANCEMENT_HU * counts)
    if np.count_nonzero(kept) < 2:
        return NAN
    recovery, weights = predicted[kept] / true[kept], counts[kept]
    mean = np.average(recovery, weights=weights)
    return float(np.sqrt(np.average(np.square(recovery - mean), weights=weights)))


def contrast_to_noise_ratio(image_hu: np.ndarray, vessel: np.ndarray, beside: np.ndarray) -> float:
    """``(mean over vessels - mean over the tissue beside them) / SD of that tissue``.

    The definition of CTA studies, with the soft tissue around the vessels as the background.

    Args:
        image_hu: a CTA, real or synthetic, in HU, (X, Y, Z).
        vessel: boolean, same shape.
        beside: the background, boolean, same shape; see ``regions.tissue_beside``.

    Returns:
        NaN where a mask is empty or the tissue has no noise at all.
    """
    if not vessel.any() or not beside.any():
        return NAN
    tissue = image_hu[beside].astype(np.float64)
    noise = float(tissue.std())
    return float((image_hu[vessel].mean(dtype=np.float64) - tissue.mean()) / noise) if noise else NAN


def _recovery(images: ComparedImages) -> float:
    case = images.case
    return enhancement_recovery(images.prediction, case.ncct, case.cta, case.masks[VESSEL])


def _spread(images: ComparedImages) -> float:
    case = images.case
    return enhancement_recovery_spread(images.prediction, case.ncct, case.cta, case.masks[VESSEL], case.spacing)


def _cnr(images: ComparedImages) -> float:
    return contrast_to_noise_ratio(images.prediction, images.case.masks[VESSEL], images.case.once(_beside_vessels))


def _cnr_over_ctas(images: ComparedImages) -> float:
    return ratio(images.once(_cnr), images.case.once(_cnr_of_cta))


def _cnr_of_cta(case: CaseImages) -> float:
    return contrast_to_noise_ratio(case.cta, case.masks[VESSEL], case.once(_beside_vessels))


def _beside_vessels(case: CaseImages) -> np.ndarray:
    outside = case.masks[LUNG] | ~case.masks[BODY]
    return tissue_beside(case.masks[VESSEL], case.once(near_marked_vessels), case.ncct, outside, case.spacing)


def near_marked_vessels(case: CaseImages) -> np.ndarray:
    """The vessel mask and what its partial volume reaches."""
    return near_vessels(case.masks[VESSEL], case.spacing)


METRICS = (
    # 1 is perfect and 0 is the identity; the identity's spread is 0 too, so that a small spread alone says nothing.
    Metric(
        name="enhancement_recovery",
        compute=_recovery,
        title="enhancement recovery",
        short="recovery",
        unit="",
        limits=(-math.inf, math.inf),
        better="one",
        meaning="mean(prediction - NCCT) / mean(CTA - NCCT) in the vessels: 0 adds no contrast, 1 adds all of it",
        missing="the CTA's vessels are as bright as the NCCT's",
        region=VESSEL,
    ),
    Metric(
        name="enhancement_recovery_spread",
        compute=_spread,
        title="enhancement recovery, SD over regions",
        short="spread",
        unit="",
        limits=(0, math.inf),
        better="neither",
        meaning="how unevenly the contrast is recovered: standard deviation over regions of the vessels",
        missing=f"fewer than two cubes of {BLOCK_MM:g} mm hold enough vessel that enhances",
        region=VESSEL,
    ),
    # Blurring raises the contrast-to-noise ratio, so values above the CTA's are as bad as values below it.
    Metric(
        name="vessel_cnr",
        compute=_cnr,
        title="contrast-to-noise ratio, vessels",
        short="CNR",
        unit="",
        limits=(-math.inf, math.inf),
        better="neither",
        meaning="contrast of the vessels over the noise around them",
        missing=NO_NOISE,
        region=VESSEL,
    ),
    Metric(
        name="vessel_cnr_ratio",
        compute=_cnr_over_ctas,
        title="contrast-to-noise ratio / the CTA's",
        short="CNR/CTA's",
        unit="",
        limits=(-math.inf, math.inf),
        better="one",
        meaning="contrast-to-noise ratio of the vessels over the CTA's; blurring raises it above 1",
        missing=NO_NOISE,
        region=VESSEL,
    ),
)
