"""Are the vessels as thick as the CTA's? Full widths at half maximum, across the CTA's centrelines."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from ..common.hu import ENHANCEMENT_HU
from .case_images import CaseImages, ComparedImages
from .metric import Metric
from .vessel_overlap import centreline_of_cta

MOST_POINTS, LEAST_POINTS = 3000, 20
REACH_MM, STEP_MM = 10.0, 0.25  # of a profile from the centreline: vessels above about 15 mm have no width in it
ANGLES = 12
NEIGHBOURS = 9  # points of the centreline that its direction is taken from


def diameters(image_hu: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The full width at half maximum at points of a centreline, (N,) in mm.

    Twice the radius at which the profile, the mean over the directions across the vessel, has fallen half-way from its
    value on the centreline to its lowest.

    Args:
        image_hu: (X, Y, Z) in HU.
        places: of each point's profile, (N, radii, angles, 3) in voxels, as ``across`` returns it.

    Returns:
        NaN where the centre is no ``ENHANCEMENT_HU`` above the lowest value: there is no vessel, or a wider one.
    """
    rings = map_coordinates(image_hu, np.moveaxis(places, -1, 0), np.float32, order=1, mode="nearest")
    profile = rings.mean(axis=2)
    centre, lowest = profile[:, 0], profile.min(axis=1)
    half = (centre + lowest) / 2
    outer = (profile < half[:, None]).argmax(axis=1).clip(1)
    row = np.arange(len(profile))
    above, below = profile[row, outer - 1], profile[row, outer]
    with np.errstate(divide="ignore", invalid="ignore"):
        radius = STEP_MM * (outer - 1 + (above - half) / (above - below))
    return np.where(centre - lowest >= ENHANCEMENT_HU, 2 * radius, np.nan)


def across(line: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Where to look at points of a centreline: circles across it, (N, radii, angles, 3) in voxels.

    Args:
        line: the centreline, boolean, (X, Y, Z).
        spacing: voxel edges in mm.

    Returns:
        of at most ``MOST_POINTS`` points, evenly spread; none where the centreline is shorter than ``NEIGHBOURS``.
    """
    points = np.argwhere(line) * np.array(spacing, float)
    radii = np.arange(0, REACH_MM + STEP_MM, STEP_MM)
    angles = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    if len(points) < NEIGHBOURS:
        return np.empty((0, len(radii), ANGLES, 3))
    chosen = points[:: math.ceil(len(points) / MOST_POINTS)]
    near = points[cKDTree(points).query(chosen, NEIGHBOURS)[1]]
    # Ascending eigenvalues: the last vector runs along the vessel, the others across it.
    vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", *(2 * [near - near.mean(axis=1, keepdims=True)])))[1]
    circle = np.stack([np.cos(angles), np.sin(angles)])
    directions = np.einsum("nik,ka->nai", vectors[:, :, :2], circle)
    places = chosen[:, None, None] + radii[:, None, None] * directions[:, None]
    return places / np.array(spacing, float)


def _diameter_bias(images: ComparedImages) -> float:
    """The median over points of the CTA's centrelines of (prediction's diameter - CTA's), in mm."""
    case = images.case
    found = diameters(images.prediction, case.once(_places)) - case.once(_true_diameters)
    known = found[~np.isnan(found)]
    return float(np.median(known)) if len(known) >= LEAST_POINTS else math.nan


def _places(case: CaseImages) -> np.ndarray:
    return across(case.once(centreline_of_cta), case.spacing)


def _true_diameters(case: CaseImages) -> np.ndarray:
    return diameters(case.cta, case.once(_places))


METRICS = (
    Metric(
        name="diameter_bias_mm",
        compute=_diameter_bias,
        title="diameter bias of vessels",
        short="width",
        unit="mm",
        limits=(-2 * REACH_MM, 2 * REACH_MM),
        better="zero",
        meaning="median of the vessels' full widths at half maximum - the CTA's: above 0 is too thick",
        missing=f"fewer than {LEAST_POINTS} points of the CTA's centrelines have a width in both images",
        where="vessels",
    ),
)
