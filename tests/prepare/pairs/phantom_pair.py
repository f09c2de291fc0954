"""A small phantom pair as SimpleITK images, and how far an alignment of it is off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ncct_cta.phantom.cohort import PhantomCase, make_case
from ncct_cta.prepare.pairs.grids import lung_mask_of, mask_image
from ncct_cta.prepare.pairs.known_motion import mask_points
from ncct_cta.volumes.itk_images import to_sitk
from ncct_cta.volumes.nifti import Volume, volume_from

SHAPE, SPACING = (40, 40, 20), (8.4, 8.4, 12.6)


@dataclass(frozen=True)
class PhantomPair:
    """NCCT and CTA of a phantom with their computed lung masks, and the truth about its motion."""

    case: PhantomCase
    ncct: Volume
    cta: Volume
    ncct_lung: sitk.Image
    cta_lung: sitk.Image

    @property
    def images(self) -> tuple[sitk.Image, sitk.Image, sitk.Image, sitk.Image]:
        return to_sitk(self.ncct), to_sitk(self.cta), self.ncct_lung, self.cta_lung

    def error_mm(self, transform: sitk.Transform) -> float:
        """Mean distance between where the lungs' points lie in the CTA and where the transform says."""
        points = mask_points(self.ncct_lung)[::5].tolist()
        found = np.array([transform.TransformPoint(point) for point in points])
        truth = np.array([self._truth().TransformPoint(point) for point in points])
        return float(np.linalg.norm(found - truth, axis=1).mean())

    def _truth(self) -> sitk.Transform:
        if self.case.displacement_mm is None:
            return sitk.Transform()
        vectors = self.case.displacement_mm.transpose(2, 1, 0, 3).astype(float)
        field = sitk.GetImageFromArray(vectors, isVector=True)
        field.CopyInformation(self.ncct_lung)
        return sitk.DisplacementFieldTransform(field)


def make_pair(index: int = 0, *, motion_mm: float = 0.0, cta_of: int | None = None) -> PhantomPair:
    """A pair, perhaps with the CTA of another patient."""
    case = make_case(7, index, shape=SHAPE, spacing=SPACING, motion_mm=motion_mm)
    other = case if cta_of is None else make_case(7, cta_of, shape=SHAPE, spacing=SPACING)
    ncct, cta = (volume_from(hu, case.affine, name) for name, hu in (("ncct", case.ncct), ("cta", other.cta)))
    lungs = (mask_image(lung_mask_of(volume), to_sitk(volume)) for volume in (ncct, cta))
    return PhantomPair(case, ncct, cta, *lungs)
