"""How well a CTA is aligned with its NCCT before and after registration, and what is wrong with a bad pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk
from monai.metrics.utils import get_mask_edges, get_surface_distance
from scipy.stats import entropy

from ...common.hu import AIR_HU, CONTRAST_BLOOD_HU, REGISTRATION_WINDOW_HU
from ...metrics import body_mask, dice
from ...transforms.contrast import blood_of
from ...volumes.nifti import Volume
from ..limits import Limit
from .alignment import Alignment
from .grids import coarse_hu, full_mask, mask_array, on_grid

QUALITY_MM = 2.8
BINS = 32
SMALLEST_DETERMINANT = 1e-3  # smaller values, and those of folds, are raised to this: their logarithm is unbounded
STAGES = BEFORE, AFTER = ("before", "after")
LUNG_DICE, SURFACE_MEAN, SURFACE_P95 = "lung_dice", "surface_mean_mm", "surface_p95_mm"
MUTUAL_INFORMATION = "mutual_information"
COVERED, COVERED_BEFORE, FOLDED, STRETCH = "covered", "covered_before", "folded", "stretch"
BLOOD_NCCT, BLOOD_CTA, VESSEL_ML = "blood_ncct_hu", "blood_cta_hu", "vessel_ml"

# Two real pairs, displaced by 5 mm, 3 degrees and 8 mm of breath, reach an overlap of 0.99 and a surface distance of 3
# mm; each with the other's CTA 0.88 and 16 mm. Such a mix-up has a mutual information of 0.55 and a stretch of 0.15:
# these (these two limits ->) the limits of these two are set for much worse cases, so that differences in anatomy and
# dose don't flag good pairs.
LIMITS = (
    Limit(f"{LUNG_DICE}_{AFTER}", 0.95, True, "the lungs' overlap (Dice)",
          "the registration failed or the lung masks are wrong; look at the picture"),
    Limit(f"{SURFACE_P95}_{AFTER}", 10.0, False, "the distance of the lungs' surfaces in mm (95th percentile)",
          "a part of the lungs isn't aligned; look at the picture"),
    Limit(f"{MUTUAL_INFORMATION}_{AFTER}", 0.4, True, "the mutual information in nats",
          "the two show little of the same; check that they are of one patient"),
    Limit(FOLDED, 0.0, False, "the share of the body where the field folds",
          "the deformation is impossible; prepare the case with --no-deformable"),
    Limit(STRETCH, 0.3, False, "the field's stretch (SD of the log Jacobian determinant)",
          "bodies don't deform as much; check that the two are of one patient"),
    Limit(COVERED, 0.5, True, "the share of the NCCT's body that the CTA covers",
          "the CTA shows another part of the patient; choose another one"),
)  # fmt: skip
# Registration can't distinguish a pair from the same two scans swapped, or from one scan given twice. Chests with
# contrast show 450 to 700 ml of vessels; with little overlap there is less.
CONTRAST_LIMITS = (
    Limit(BLOOD_NCCT, CONTRAST_BLOOD_HU, False, "the NCCT's blood in HU",
          "the NCCT shows contrast; check that it isn't a CTA, or swapped with it"),
    Limit(BLOOD_CTA, CONTRAST_BLOOD_HU, True, "the CTA's blood in HU",
          "the CTA shows no contrast; check that it isn't an NCCT, or swapped with it"),
    Limit(VESSEL_ML, 10.0, True, "the volume of the vessels in ml",
          "the CTA is nowhere brighter than the NCCT; check that they are neither swapped nor the same scan"),
)  # fmt: skip
ALL_LIMITS = LIMITS + CONTRAST_LIMITS


def measure(
    ncct: sitk.Image, cta: sitk.Image, ncct_lung: sitk.Image, cta_lung: sitk.Image, alignment: Alignment
) -> dict[str, float]:
    """Score a pair as given by the two headers, and as aligned.

    Args:
        ncct: in HU.
        cta: in HU.
        ncct_lung: lung mask on the NCCT's grid.
        cta_lung: lung mask on the CTA's grid.
        alignment: of the CTA with the NCCT.

    Returns:
        For ``before`` and ``after``, as ``{score}_{stage}``: ``lung_dice`` (0..1); ``surface_mean_mm`` and
        ``surface_p95_mm``, mean and 95th percentile of the distances between the lungs' surfaces in both directions,
        mm; ``mutual_information`` of the body's HU, nats. Of the alignment: ``covered``, the share of the NCCT's body
        that the CTA covers, and ``covered_before``; ``folded``, the share of the body where the field folds (Jacobian
        determinant <= 0); ``stretch``, the standard deviation of the determinant's logarithm over the body.
        NaN where there is nothing to measure.
    """
    mm = max(QUALITY_MM, min(ncct.GetSpacing()))
    fixed = coarse_hu(ncct, mm)
    fixed_hu = _array(fixed)
    body = body_mask(fixed_hu, fixed.GetSpacing())
    lung = mask_array(on_grid(ncct_lung, fixed))
    moving = coarse_hu(cta, mm)
    scores: dict[str, float] = {}
    for stage, transform in zip(STAGES, (sitk.Transform(), alignment.transform), strict=True):
        covered = mask_array(on_grid(full_mask(cta), fixed, transform))
        moved = _array(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, AIR_HU))
        moved_lung = mask_array(on_grid(cta_lung, fixed, transform))
        scores |= {f"{name}_{stage}": value for name, value in lung_agreement(lung & covered, moved_lung, mm).items()}
        scores[f"{MUTUAL_INFORMATION}_{stage}"] = mutual_information(fixed_hu[body & covered], moved[body & covered])
        scores[COVERED if stage == AFTER else COVERED_BEFORE] = _share(covered, body)
    return scores | _field_scores(alignment.field, fixed, body)


def as_it_came(scores: Mapping[str, float]) -> dict[str, float]:
    """Return what ``measure`` would return for the same pair without registration."""
    after = {name: scores[name.replace(AFTER, BEFORE)] for name in scores if name.endswith(AFTER)}
    return {**scores, **after, COVERED: scores[COVERED_BEFORE], FOLDED: 0.0, STRETCH: 0.0}


def contrast_scores(scans: Sequence[tuple[Volume, np.ndarray]], vessel: np.ndarray, grid: Volume) -> dict[str, float]:
    """``blood_ncct_hu`` and ``blood_cta_hu``, NaN where not measurable, and ``vessel_ml``.

    Args:
        scans: NCCT and CTA in HU, each with its lung mask (X, Y, Z) on its own grid.
        vessel: (X, Y, Z) mask of the voxels that are brighter in the CTA.
        grid: the mask's.
    """
    blood = [blood_of(volume, lung) for volume, lung in scans]
    scores = {name: math.nan if hu is None else hu for name, hu in zip((BLOOD_NCCT, BLOOD_CTA), blood, strict=True)}
    return {**scores, VESSEL_ML: float(np.count_nonzero(vessel) * np.prod(grid.spacing) / 1000)}


def lung_agreement(lung: np.ndarray, other: np.ndarray, mm: float) -> dict[str, float]:
    """Dice overlap and surface distances (mean and 95th percentile, mm) of two masks (X, Y, Z) of cubic voxels."""
    if not lung.any() or not other.any():
        return {LUNG_DICE: 0.0, SURFACE_MEAN: math.nan, SURFACE_P95: math.nan}
    edges = get_mask_edges(lung, other)
    there, back = (get_surface_distance(a, b, spacing=mm) for a, b in (edges, edges[::-1]))
    distances = np.concatenate([np.asarray(there), np.asarray(back)])
    return {
        LUNG_DICE: dice(lung, other),
        SURFACE_MEAN: float(distances.mean()),
        SURFACE_P95: float(np.percentile(distances, 95)),
    }


def mutual_information(a_hu: np.ndarray, b_hu: np.ndarray) -> float:
    """``H(a) + H(b) - H(a, b)`` in nats, of ``BINS`` bins over the registration's HU window; NaN without voxels."""
    if a_hu.size == 0:
        return math.nan
    low, high = REGISTRATION_WINDOW_HU
    counts, _, _ = np.histogram2d(a_hu.clip(low, high), b_hu.clip(low, high), BINS, [[low, high], [low, high]])
    return float(entropy(counts.sum(axis=1)) + entropy(counts.sum(axis=0)) - entropy(counts.ravel()))


def _field_scores(field: sitk.Image | None, grid: sitk.Image, body: np.ndarray) -> dict[str, float]:
    if field is None:
        return {FOLDED: 0.0, STRETCH: 0.0}
    determinant = sitk.DisplacementFieldJacobianDeterminant(field)
    inside = _array(sitk.Resample(determinant, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 1.0))[body]
    if inside.size == 0:
        return {FOLDED: math.nan, STRETCH: math.nan}
    stretch = np.log(np.maximum(inside, SMALLEST_DETERMINANT)).std()
    return {FOLDED: float(np.mean(inside <= 0)), STRETCH: float(stretch)}


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(np.count_nonzero(part & whole) / np.count_nonzero(whole)) if whole.any() else math.nan


def _array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0)
