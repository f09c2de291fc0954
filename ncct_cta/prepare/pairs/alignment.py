"""Registration of a CTA with its NCCT: rigid, then deformable, driven by mutual information and the lungs.

Mattes' mutual information (IEEE TMI 2003) doesn't require similar grey values and so tolerates contrast. The deformable
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
RIGID_SAMPLES = 0.25  # fraction of the voxels around the lungs that the metric samples
RIGID_STEPS = 100
LUNG_MARGIN_MM = 25.0  # ribs, spine, heart and the liver's dome define the patient's position; arms and table don't


@dataclass(frozen=True)
class Level:
    """One level of the deformable registration.

    Args:
        mm: edge length of its voxels.
        steps: number of gradient descent steps.
        stride: largest displacement per step, in voxels; larger steps overshoot and never converge.
        variance: of the Gaussian that smooths each step, voxels^2. It carries what edges say into the heart and the
            vessels, which look alike full_mask in an NCCT.
    """

    mm: float
    steps: int
    stride: float
    variance: float


LEVELS = (Level(11.2, 25, 0.2, 20.0), Level(8.4, 20, 0.2, 16.0), Level(5.6, 25, 0.15, 10.0))
# Of the Gaussian that smooths the whole field after each step, voxels^2. Without it the field follows the noise and
# folds; with 0.5 it is too stiff to follow breathing.
FIELD_VARIANCE = 0.02
# ITK holds the field at zero on the edge of its grid: far enough outside, that doesn't matter.
FIELD_MARGIN_MM = 30.0
# A folding field is smoothed repeatedly with this standard deviation until it no longer folds.
UNFOLDING_MM = 4.0
UNFOLDING_ROUNDS = 20
LEAST_DETERMINANT = 0.05


@dataclass(frozen=True)
class Alignment:
    """Where each point of the NCCT lies in the CTA, LPS mm.

    Args:
        transform: the complete mapping, ``cta_point = rigid(point + field(point))``: what resamples the CTA onto the
            NCCT.
        field: its deformable part, a vector image in mm around the NCCT; None if there is none.
    """

    transform: sitk.Transform
    field: sitk.Image | None


@dataclass(frozen=True)
class _Scan:
    """A CT as used by registration, on cubic voxels.

    Args:
        hu: float32, within the HU window.
        lung: on the same grid.
        inside: mask of the grid's voxels that the CT covers.
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
        """The HU smoothed to a resolution of ``mm``, on the unchanged grid.

        The moving image stays on it: interpolated from coarse voxels it would draw the field to their centres.
        """
        sigma = mm / 2 if mm > self.hu.GetSpacing()[0] else 0.0
        return sitk.SmoothingRecursiveGaussian(self.hu, sigma) if sigma else self.hu

    def on_level(self, mm: float) -> _Scan:
        """Resample image and masks to voxels of ``mm``, with a margin of air for the field."""
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
        deformable: follow the rigid registration by a deformable one.
        seed: seed of the samples of the rigid registration. On one machine, with SimpleITK on one thread, the same seed
            gives the same bytes.

    Raises:
        InputError: if the two can't be registered.
    """
    try:
        fixed, moving = _Scan.of(ncct, ncct_lung), _Scan.of(cta, cta_lung)
        rigid = _rigid(fixed, moving, seed)
        if not deformable:
            return Alignment(rigid, None)
        field = _zeros(fixed.hu)
        for level in LEVELS:
            field = _refine(fixed.on_level(level.mm), moving, rigid, field, level)
    except RuntimeError as error:  # raised by ITK, for example because no sample of one image lies inside the other
        reason = str(error).strip().splitlines()[-1]
        raise InputError(
            f"the registration failed ({reason}); expected NCCT and CTA of one patient's chest: look at both"
        ) from error
    # Without the margin, which is never sampled and where the field drops to zero.
    field = _unfold(_vectors_on(field, isotropic_grid(ncct, field.GetSpacing()[0])))
    # The transform takes over the image passed to it.
    transform = sitk.CompositeTransform([rigid, sitk.DisplacementFieldTransform(sitk.Image(field))])
    return Alignment(transform, field)


def _rigid(fixed: _Scan, moving: _Scan, seed: int) -> sitk.Euler3DTransform:
    transform = _best_start(fixed.lung, moving.lung)
    method = _method(moving)
    margin = [max(1, round(LUNG_MARGIN_MM / mm)) for mm in fixed.hu.GetSpacing()]
    method.SetMetricFixedMask(sitk.BinaryDilate(fixed.lung, margin))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(RIGID_SAMPLES, seed + 1)  # for SimpleITK, 0 means seeding from the clock
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.02, RIGID_STEPS, relaxationFactor=0.6)
    method.SetShrinkFactorsPerLevel([max(1, round(mm / fixed.hu.GetSpacing()[0])) for mm in RIGID_MM])
    method.SetSmoothingSigmasPerLevel([max(mm / 3, fixed.hu.GetSpacing()[0] * 0.7) for mm in RIGID_MM])
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed.hu, moving.hu)
    return transform


def _best_start(fixed_lung: sitk.Image, moving_lung: sitk.Image) -> sitk.Euler3DTransform:
    """Align the lungs by the scanner's coordinates, their centroids or their tops, whichever gives the largest overlap.

    The coordinates are right for scans of one session; the tops are right if one scan ends above the diaphragm.
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
    """Return the field after a level's steps, on the grid of ``fixed``, starting from that of the previous level."""
    transform = sitk.DisplacementFieldTransform(_vectors_on(field, fixed.hu))
    transform.SetSmoothingGaussianOnUpdate(level.variance, FIELD_VARIANCE)
    method = _method(moving)
    method.SetMetricFixedMask(_patient(fixed))
    stride = level.stride * fixed.hu.GetSpacing()[0]
    # The step length is recomputed at each step, and there is no early stopping: the metric's noise would look like
    # convergence.
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
    """A field on another grid; beyond its own grid it continues with the values at the edge."""
    return sitk.Resample(field, grid, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkVectorFloat64, True)


def _patient(scan: _Scan) -> sitk.Image:
    """The patient with the lungs, plus one voxel for the edge of the skin: the region that the metric samples."""
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
    """Smooth a field until it no longer folds; folds left after ``UNFOLDING_ROUNDS`` are left to quality control."""
    for _ in range(UNFOLDING_ROUNDS):
        determinant = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(field))
        if determinant.min() >= LEAST_DETERMINANT:
            break
        field = sitk.Cast(sitk.SmoothingRecursiveGaussian(field, UNFOLDING_MM), sitk.sitkVectorFloat64)
    return field
