"""Grids: what is cropped, resampled or averaged stays where it is in the patient."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from ncct_cta.common.errors import InputError
from ncct_cta.prepare.pairs.grids import coarse_hu, common_box, crop, on_grid, resample_hu, with_spacing
from ncct_cta.prepare.pairs.known_motion import KnownMotion, mask_points
from ncct_cta.volumes.itk_images import to_sitk
from ncct_cta.volumes.nifti import Volume, volume_from

AFFINES = {
    "RAS": np.diag([4.0, 4.0, 5.0, 1.0]),
    "LPS": np.diag([-4.0, -4.0, 5.0, 1.0]),
    "left-handed": np.diag([-4.0, 4.0, 5.0, 1.0]),
    "sagittal": np.array([[0, 0, 5.0, 7], [4.0, 0, 0, -3], [0, 4.0, 0, 9], [0, 0, 0, 1]]),
}


def smooth_volume(affine: np.ndarray, shape: tuple[int, int, int] = (20, 18, 16)) -> Volume:
    """HU that say where a voxel lies: a plane over RAS mm."""
    points = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    return volume_from(np.rint(points @ (2.0, 3.0, 1.0) - 300).astype(np.int16), affine, "ct")


@pytest.fixture(params=AFFINES)
def volume(request: pytest.FixtureRequest) -> Volume:
    return smooth_volume(AFFINES[request.param])


def test_a_crop_keeps_voxels_and_places(volume: Volume) -> None:
    part = crop(volume, (slice(3, 15), slice(2, 18), slice(1, 9)))
    np.testing.assert_array_equal(part.array, volume.array[3:15, 2:18, 1:9])
    np.testing.assert_array_equal(part.array, smooth_volume(part.affine, part.shape).array)


def test_another_spacing_keeps_places_and_edges(volume: Volume) -> None:
    finer = with_spacing(volume, (2.0, 2.0, 2.5))
    assert sorted(finer.spacing) == pytest.approx(sorted((2.0, 2.0, 2.5)), rel=0.25)
    inner = (slice(4, -4),) * 3
    expected = smooth_volume(finer.affine, finer.shape).array
    np.testing.assert_allclose(finer.array[inner], expected[inner], atol=2)
    first, own = (volume_affine @ [-0.5, -0.5, -0.5, 1] for volume_affine in (finer.affine, volume.affine))
    np.testing.assert_allclose(first, own, atol=1e-3)


def test_coarse_voxels_lie_where_they_should(volume: Volume) -> None:
    coarse = coarse_hu(to_sitk(volume), 8.0)
    centre = [n // 2 for n in coarse.GetSize()]
    x, y, z = coarse.TransformIndexToPhysicalPoint(centre)
    assert coarse[centre] == pytest.approx(-2 * x - 3 * y + z - 300, abs=2)


def test_resampling_goes_beyond_the_scan_with_air_and_never_beyond_its_range(volume: Volume) -> None:
    edged = volume_from(np.where(volume.array > -300, 3000, -3024).astype(np.int16), volume.affine, "ct")
    moved = resample_hu(to_sitk(edged), to_sitk(volume), sitk.TranslationTransform(3, (1.3, 0.7, 20.0)))
    assert moved.max() <= 3000
    assert moved.min() >= -1024  # paddings are cut off, and no spline rings
    assert (moved == -1000).any()


def test_the_common_box_holds_what_both_show(volume: Volume) -> None:
    other = crop(volume, (slice(4, 20), slice(0, 18), slice(0, 16)))
    box = common_box(to_sitk(volume), to_sitk(other), sitk.Transform())
    assert [(side.start, side.stop) for side in box] == [(4, 20), (0, 18), (0, 16)]
    away = sitk.TranslationTransform(3, (60.0, 0.0, 0.0))
    with pytest.raises(InputError, match="in common, expected 50 mm"):
        common_box(to_sitk(volume), to_sitk(other), away)


def test_masks_move_with_the_transform() -> None:
    mask = sitk.Image([10, 10, 10], sitk.sitkUInt8)
    mask[5, 5, 5] = 1
    moved = on_grid(mask, mask, sitk.TranslationTransform(3, (2.0, 0.0, 0.0)))
    assert moved[3, 5, 5] == 1
    assert sitk.GetArrayFromImage(moved).sum() == 1


def test_a_known_motion_is_as_large_as_asked_and_can_be_undone() -> None:
    lung = sitk.Image([30, 30, 30], sitk.sitkUInt8)
    lung.SetSpacing([8.0] * 3)
    lung[5:25, 5:25, 5:25] = 1
    points = mask_points(lung)
    rigid, breath = KnownMotion(lung, breath_mm=0), KnownMotion(lung, shift_mm=0, degrees=0)
    assert np.linalg.norm(rigid(points).mean(axis=0) - points.mean(axis=0)) == pytest.approx(5)
    moved = np.linalg.norm(breath(points) - points, axis=1)
    assert moved.max() == pytest.approx(8, abs=0.1)
    lowest = points[:, 2] < np.percentile(points[:, 2], 25)
    assert moved[lowest].mean() > 2 * moved[points[:, 2] > np.percentile(points[:, 2], 75)].mean()
    both = KnownMotion(lung)
    np.testing.assert_allclose(both(both.inverse(points)), points, atol=1e-6)
