"""A known displacement applied to a real CT, to measure registration against.

A rigid motion of the patient between two scans, and breathing: a smooth displacement, largest at the diaphragm and
mostly along the patient's length, that fades towards the chest wall and the apices. All points are LPS mm.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from ...common.hu import AIR_HU

# Directions, scaled by what is asked for: none is parallel to an axis, so that no axis is easier than the others.
SHIFT, ROTATION, BREATH = (3.0, -2.4, 3.2), (1.0, 0.6, -0.8), (0.1, -0.3, 0.95)
DIAPHRAGM_PERCENTILE = 10  # fraction of the lungs' height
# Standard deviations, times the square root of 2, of the bell-shaped breathing motion: sideways, to front and back, up,
# down.
SIDE_MM, DEPTH_MM, UP_MM, DOWN_MM = 130.0, 100.0, 80.0, 60.0
FIELD_MM = 4.0  # grid of the dense field; the bell is far wider
INVERSION_STEPS = 40


class KnownMotion:
    """Where each point of the displaced CT lay before: ``original = breath(rigid(displaced))``.

    So ``displaced(q) = ct(motion(q))``, and the transform that registration has to find, from the NCCT to the displaced
    CTA, is the inverse.

    Args:
        lung: the lung mask of the CT.
        shift_mm: length of the rigid shift.
        degrees: rigid rotation about the lungs' centroid.
        breath_mm: largest displacement by breathing; it folds from about 50 mm on.
    """

    def __init__(
        self, lung: sitk.Image, *, shift_mm: float = 5.0, degrees: float = 3.0, breath_mm: float = 8.0
    ) -> None:
        points = mask_points(lung)
        self.centre = points.mean(axis=0)
        self.diaphragm = float(np.percentile(points[:, 2], DIAPHRAGM_PERCENTILE))
        self.shift = _unit(SHIFT) * shift_mm
        self.rotation = Rotation.from_rotvec(_unit(ROTATION) * np.deg2rad(degrees)).as_matrix()
        self.breath = _unit(BREATH) * breath_mm

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the original positions of points of the displaced CT, (N, 3)."""
        moved = (points - self.centre) @ self.rotation.T + self.centre + self.shift
        x, y, _ = (moved - self.centre).T
        z = moved[:, 2] - self.diaphragm
        bell = np.exp(-((x / SIDE_MM) ** 2) - (y / DEPTH_MM) ** 2 - (z / np.where(z > 0, UP_MM, DOWN_MM)) ** 2)
        return moved + bell[:, None] * self.breath

    def inverse(self, points: np.ndarray) -> np.ndarray:
        """Where points (N, 3) of the original lie in the displaced CT, by fixed-point iteration."""
        found = points.copy()
        for _ in range(INVERSION_STEPS):
            found = found - (self(found) - points)
        return found

    def displace(self, ct: sitk.Image) -> sitk.Image:
        """The displaced CT on the grid of ``ct``, float32 HU, air where it comes from outside."""
        transform = sitk.DisplacementFieldTransform(_field(ct, self))
        return sitk.Resample(ct, ct, transform, sitk.sitkBSpline3, AIR_HU, sitk.sitkFloat32)

    def field_back(self, ct: sitk.Image) -> sitk.Image:
        """The displacement that resamples the displaced CT onto the original, LPS mm, on a grid of ``FIELD_MM``.

        What is at p in the original lies at p + d(p) in the displaced CT.
        """
        return _field(ct, self.inverse)


def _field(ct: sitk.Image, moved: Callable[[np.ndarray], np.ndarray]) -> sitk.Image:
    """``moved(p) - p`` over the field of view of a CT."""
    size = [int(np.ceil(n * mm / FIELD_MM)) + 2 for n, mm in zip(ct.GetSize(), ct.GetSpacing(), strict=True)]
    field = sitk.Image(size, sitk.sitkVectorFloat64)
    field.SetSpacing([FIELD_MM] * 3)
    field.SetOrigin(ct.GetOrigin())
    field.SetDirection(ct.GetDirection())
    points = voxel_points(field, np.argwhere(np.ones(size[::-1], bool)))
    vectors = sitk.GetImageFromArray((moved(points) - points).reshape(*size[::-1], 3), isVector=True)
    vectors.CopyInformation(field)
    return vectors


def mask_points(mask: sitk.Image) -> np.ndarray:
    """The centres of a mask's voxels, (N, 3) LPS mm."""
    return voxel_points(mask, np.argwhere(sitk.GetArrayViewFromImage(mask) > 0))


def voxel_points(image: sitk.Image, zyx: np.ndarray) -> np.ndarray:
    """The centres of voxels given as (z, y, x) indices, (N, 3) LPS mm."""
    axes = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    return zyx[:, ::-1] @ axes.T + image.GetOrigin()


def _unit(vector: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(vector) / np.linalg.norm(vector)
