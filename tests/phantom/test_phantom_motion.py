"""The phantom's breathing: the field is smooth, exact, and means to ITK what its documentation says."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import map_coordinates

from ncct_cta.phantom.anatomy import Grid
from ncct_cta.phantom.cohort import PhantomCase, make_case, write_cohort
from ncct_cta.phantom.motion import Breathing

MOTION_MM = 15.0


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(3, 1)


@pytest.fixture(scope="module")
def moved() -> PhantomCase:
    return make_case(3, 1, motion_mm=MOTION_MM)


def test_motion_reaches_its_amplitude_and_does_not_fold(moved: PhantomCase) -> None:
    assert moved.displacement_mm is not None
    assert np.linalg.norm(moved.displacement_mm, axis=-1).max() == pytest.approx(MOTION_MM, rel=0.01)
    spacing = np.abs(np.diag(moved.affine)[:3])
    jacobian = np.stack(
        [np.stack(np.gradient(moved.displacement_mm[..., d], *spacing), axis=-1) for d in range(3)], axis=-2
    )
    assert np.linalg.det(jacobian + np.eye(3)).min() > 0.3


def test_motion_moves_the_cta_alone(case: PhantomCase, moved: PhantomCase) -> None:
    for name in ("ncct", "lung", "vessel"):
        np.testing.assert_array_equal(getattr(case, name), getattr(moved, name))
    np.testing.assert_array_equal(case.cta, moved.cta_aligned)
    assert np.abs(moved.cta.astype(float) - case.cta).mean() > 20


def test_the_field_says_where_a_point_went() -> None:
    shape, spacing = (40, 40, 32), (8.4, 6.4, 8.0)
    axes = [np.arange(size, dtype=np.float32) * mm for size, mm in zip(shape, spacing, strict=True)]
    grid = Grid(
        axes[0][:, None, None] - axes[0].mean(),
        axes[1][None, :, None] - axes[1].mean(),
        axes[2][None, None, :],
        spacing,
    )
    breathing = Breathing(np.random.default_rng(0), grid, spacing, 20.0)
    displacement = breathing.displacement(slice(0, shape[2]))
    for axis, mm in enumerate(np.meshgrid(*axes, indexing="ij")):  # each voxel holds its own position
        moved = breathing.warp(mm)
        index = np.indices(shape) + np.moveaxis(displacement / np.array(spacing), -1, 0)
        found = map_coordinates(moved, index, order=1, mode="nearest")
        inner = (slice(3, -3),) * 3
        np.testing.assert_allclose(found[inner], mm[inner], atol=0.3, err_msg=f"axis {axis}")


def test_itk_aligns_the_cta_with_the_written_field(tmp_path: Path) -> None:
    write_cohort(tmp_path, cases=1, seed=2, motion_mm=MOTION_MM)
    cta, aligned = (
        sitk.ReadImage(str(tmp_path / f"phantom000_{kind}.nii.gz"), sitk.sitkFloat32) for kind in ("cta", "cta_aligned")
    )
    header = nib.load(tmp_path / "phantom000_displacement.nii.gz").header
    assert header.get_intent()[0] == "vector"
    assert header.get_data_shape() == (96, 96, 64, 1, 3)
    field = sitk.ReadImage(str(tmp_path / "phantom000_displacement.nii.gz"), sitk.sitkVectorFloat64)
    warped = sitk.Resample(cta, aligned, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, -1000.0)
    before, after = (
        np.abs(sitk.GetArrayFromImage(volume) - sitk.GetArrayFromImage(aligned)) for volume in (cta, warped)
    )
    # What is left is the noise, which doesn't move with the CTA, and the blur of a second interpolation.
    assert after.mean() < 20
    assert after.mean() < 0.5 * before.mean()
