"""A small breathing displacement of the CTA, whose true field is known."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ...common.hu import to_int16_hu
from ...volumes.itk_images import to_sitk
from ...volumes.nifti import Volume
from ..pairs.grids import mask_image
from ..pairs.known_motion import KnownMotion


def breathe(cta: Volume, lung: np.ndarray, breath_mm: float) -> tuple[np.ndarray, sitk.Image]:
    """Displace a CTA as breathing does: most at the diaphragm, and along the patient.

    Resampling by cubic splines takes a little of its noise. The NCCT and its masks stay where they are.

    Args:
        cta: the CTA.
        lung: (X, Y, Z) on its grid.
        breath_mm: the largest displacement, mm.

    Returns:
        The displaced CTA, (X, Y, Z) int16 HU, and the field that resamples it onto the NCCT, LPS mm: what is at p in
        the NCCT lies at p + d(p) in the CTA.
    """
    image = to_sitk(cta)
    motion = KnownMotion(mask_image(lung, image), shift_mm=0.0, degrees=0.0, breath_mm=breath_mm)
    moved = sitk.GetArrayFromImage(motion.displace(image)).transpose(2, 1, 0)
    return to_int16_hu(moved), sitk.Cast(motion.field_back(image), sitk.sitkVectorFloat32)
