"""Registration of a CTA with its NCCT: rigid, then deformable, driven by mutual information and the lungs.

Mattes' mutual information (IEEE TMI 2003) asks for no likeness of grey values and so survives contrast. The deformable
part is a dense field per resolution, smoothed by a Gaussian at each step: SimpleITK's B-splines need minutes for what
this does in seconds, since ITK computes their Jacobian for all control points at every sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...common.errors import InputError
from ...common.hu import AIR_HU, REGISTRATION_WINDOW_HU
from ...metrics import body_mask
from .grids import coarse_hu, full_mask, isotropic_grid, mask_array, on_grid

BINS = 32
BASE_MM = 2.8
RIGID_MM = (11.2, 5.6)
RIGID_SAMPLES = 0.25  # share of the voxels around the lungs that its metric looks at
RIGID_STEPS = 100
LUNG_MARGIN_MM = 25.0  # ribs, spine, heart and the liver's dome say where the patient lies; arms and table don't


@dataclass(frozen=True)
class Level:
    """A stretch of the deformable registration.

    Args:
        mm: edge of its voxels.
        steps: of the gradient descent.
        stride: largest displacement of a step, in voxels; longer ones overshoot and never settle.
        variance: of the Gaussian that smooths each step, voxels^2. It carries what edges say into the heart and the
            vessels, which look alike full_mask in an NCCT.
    """

    mm: float
    steps: int
    stride: float
    variance: float


LEVELS = (Level(11.2, 25, 0.2, 20.0), Level(8.4, 20, 0.2, 16.0), Level(5.6, 25, 0.15, 10.0))
# Of the Gaussian that smooths the whole field after each step, voxels^2. Without it the field follows the noise and
# folds; with 0.5 it is too stiff for a breath.
FIELD_VARIANCE = 0.02
# ITK holds the field at zero on the edge of its grid: far enough outside, that keeps nothing in place.
FIELD_MARGIN_MM = 30.0
# A field that folds is smoothed until it doesn't, in rounds of this standard deviation.
UNFOLDING_MM = 4.0
UNFOLDING_ROUNDS = 20
LEAST_DETERMINANT = 0.05


@dataclass(frozen=True)
class Alignment:
    """Where each point of the NCCT lies in the CTA, LPS mm.

    Args:
        transform: the whole way, ``cta_point = rigid(point + field(point))``: what resamples the CTA onto the NCCT.
        field: its deformable part, a vector image in mm around the NCCT; None without.
    """

    transform: sitk.Transform
    field: sitk.Image | None


@dataclass(frozen=True)
class _Scan:
    """A CT as registration sees it, on cubic voxels.

    Args:
        hu: float32, within the HU window.
        lung: on the same grid.
        inside: where on this grid the CT has voxels.
    """

    hu: sitk.Image
    lung: sitk.Image
    inside: sitk.Image

    @classmethod
    def of(cls, ct: sitk.Image, lung: sitk.Image) -> _Scan:
        """The CT on voxels of ``BASE_MM``, or of its own smallest edge where that is longer."""
        coarse = coarse_hu(ct, max(BASE_MM, min(ct.GetSpacing())))
        hu = sitk.Clamp(coarse, sitk.sitkFloat32, *REGISTRATION_WINDOW_HU)
        return cls(hu, on_grid(lung, hu), on_grid(full_mask(ct), hu))

    def smoothed(self, mm: float) -> sitk.Image:
        """The HU without what voxels of ``mm`` can't show, on the grid as it is.

        The moving image stays on it: interpolated from coarse voxels it would draw the field to their centres.
        """
        sigma = mm / 2 if mm > self.hu.GetSpacing()[0] else 0.0
        return sitk.SmoothingRecursiveGaussian(self.hu, sigma) if sigma else self.hu

    def on_level(self, mm: float) -> _Scan:
        """All of it on voxels of ``mm``, with a margin of air for the field."""
        grid = isotropic_grid(self.hu, max(mm, self.hu.GetSpacing()[0]), FIELD_MARGIN_MM)
        hu = sitk.Resample(self.smoothed(mm), grid, sitk.Transform(), sitk.sitkLinear, AIR_HU)
        return _Scan(hu, on_grid(self.lung, grid), on_grid(self.inside, grid))


def align(
    ncct: sitk.Image,
    cta: sitk.Image,
    ncct_lung: sitk.Image,
    cta_lung: sitk.Image,
    *,
    deformable: bool = True,
    seed: int = 0,
) -> Alignment:
    """Find where each point of the NCCT lies in the CTA.

    Args:
        ncct: in HU.
        cta: in HU.
        ncct_lung: lung mask on the NCCT's grid.
        cta_lung: lung mask on the CTA's grid.
        deformable: let a field follow the rigid transform.
        seed: of the samples of the rigid registration. On one machine, with SimpleITK on one thread, the same seed
            gives the same bytes.

    Raises:
        InputError: if there is no way to bring the two together.
    """
    try:
        fixed, moving = _Scan.of(ncct, ncct_lung), _Scan.of(cta, cta_lung)
        rigid = _rigid(fixed, moving, seed)
        if not deformable:
            return Alignment(rigid, None)
        field = _zeros(fixed.hu)
        for level in LEVELS:
            field = _refine(fixed.on_level(level.mm), moving, rigid, field, level)
    except RuntimeError as error:  # ITK's own: no sample of the one lies in the other, say
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            f"the registration failed ({reason}); expected NCCT and CTA of one patient's chest: look at both"
        ) from error
    # Without the margin: nothing is ever asked there, and the field drops to zero on its edge.
    field = _unfold(_vectors_on(field, isotropic_grid(ncct, field.GetSpacing()[0])))
    # The transform takes the image that it is given for itself.
    transform = sitk.CompositeTransform([rigid, sitk.DisplacementFieldTransform(sitk.Image(field))])
    return Alignment(transform, field)


def _rigid(fixed: _Scan, moving: _Scan, seed: int) -> sitk.Euler3DTransform:
    transform = _best_start(fixed.lung, moving.lung)
    method = _method(moving)
    margin = [max(1, round(LUNG_MARGIN_MM / mm)) for mm in fixed.hu.GetSpacing()]
    method.SetMetricFixedMask(sitk.BinaryDilate(fixed.lung, margin))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(RIGID_SAMPLES, seed + 1)  # to SimpleITK 0 means the time of day
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.02, RIGID_STEPS, relaxationFactor=0.6)
    method.SetShrinkFactorsPerLevel([max(1, round(mm / fixed.hu.GetSpacing()[0])) for mm in RIGID_MM])
    method.SetSmoothingSigmasPerLevel([max(mm / 3, fixed.hu.GetSpacing()[0] * 0.7) for mm in RIGID_MM])
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed.hu, moving.hu)
    return transform


def _best_start(fixed_lung: sitk.Image, moving_lung: sitk.Image) -> sitk.Euler3DTransform:
    """Lay lungs on lungs: by the scanner's coordinates, their centroids or their tops, whichever overlaps most.

    The coordinates are right for scans of one session; the tops where one scan ends above the diaphragm.
    """
    fixed, moving = (_landmarks(lung) for lung in (fixed_lung, moving_lung))
    starts = []
    for shift in (np.zeros(3), moving[0] - fixed[0], moving[1] - fixed[1]):
        start = sitk.Euler3DTransform()
        start.SetCenter(fixed[0].tolist())
        start.SetTranslation(shift.tolist())
        starts.append(start)
    lung = mask_array(fixed_lung)
    overlaps = [np.count_nonzero(lung & mask_array(on_grid(moving_lung, fixed_lung, start))) for start in starts]
    return starts[int(np.argmax(overlaps))]


def _landmarks(lung: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Centroid and top (the centroid, at the height of the highest voxel), LPS mm."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(lung)
    centroid = np.array(shape.GetCentroid(1))
    _, _, first, _, _, count = shape.GetBoundingBox(1)
    top = lung.TransformIndexToPhysicalPoint((0, 0, first + count - 1))
    return centroid, np.array([*centroid[:2], top[2]])


def _refine(fixed: _Scan, moving: _Scan, rigid: sitk.Transform, field: sitk.Image, level: Level) -> sitk.Image:
    """The field after a level's steps, on the grid of ``fixed``; it starts from the last level's."""
    transform = sitk.DisplacementFieldTransform(_vectors_on(field, fixed.hu))
    transform.SetSmoothingGaussianOnUpdate(level.variance, FIELD_VARIANCE)
    method = _method(moving)
    method.SetMetricFixedMask(_patient(fixed))
    stride = level.stride * fixed.hu.GetSpacing()[0]
    # Its length is set anew at each step, and it never stops early: the metric's noise looks like convergence.
    method.SetOptimizerAsGradientDescent(1.0, level.steps, 1e-9, level.steps + 1, method.EachIteration, stride)
    method.SetMovingInitialTransform(rigid)
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed.hu, moving.smoothed(level.mm))
    return transform.GetDisplacementField()


def _method(moving: _Scan) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricMovingMask(moving.inside)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _vectors_on(field: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """A field on another grid; beyond its own it goes on as at its edge."""
    return sitk.Resample(field, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkVectorFloat64, True)


def _patient(scan: _Scan) -> sitk.Image:
    """The patient with the lungs, and a voxel around for the skin's edge: where the metric looks."""
    hu = sitk.GetArrayViewFromImage(scan.hu).transpose(2, 1, 0)
    body = body_mask(hu, scan.hu.GetSpacing()) | mask_array(scan.lung)
    mask = sitk.GetImageFromArray(ndimage.binary_dilation(body).astype(np.uint8).transpose(2, 1, 0))
    mask.CopyInformation(scan.hu)
    return mask


def _zeros(grid: sitk.Image) -> sitk.Image:
    field = sitk.Image(grid.GetSize(), sitk.sitkVectorFloat64)
    field.CopyInformation(grid)
    return field


def _unfold(field: sitk.Image) -> sitk.Image:
    """Smooth a field until it folds nowhere; what still folds after ``UNFOLDING_ROUNDS`` is left to quality control."""
    for _ in range(UNFOLDING_ROUNDS):
        determinant = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
        if determinant.min() >= LEAST_DETERMINANT:
            break
        field = sitk.Cast(sitk.SmoothingRecursiveGaussian(field, UNFOLDING_MM), sitk.sitkVectorFloat64)
    return field
