"""Registration: it undoes what it should, leaves what it should, and gives the same twice."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from phantom_pair import PhantomPair, make_pair

from ncct_cta.common.errors import InputError
from ncct_cta.prepare.pairs import alignment
from ncct_cta.prepare.pairs.alignment import Alignment, Level, align
from ncct_cta.prepare.pairs.grids import resample_hu
from ncct_cta.prepare.pairs.known_motion import KnownMotion, mask_points


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "LEVELS", (Level(16.8, 15, 0.2, 10.0), Level(11.2, 10, 0.1, 6.0)))


@pytest.fixture(scope="module")
def breathing() -> PhantomPair:
    return make_pair(motion_mm=14)


@pytest.fixture(scope="module")
def aligned() -> PhantomPair:
    return make_pair()


def test_an_aligned_pair_stays(aligned: PhantomPair) -> None:
    assert aligned.error_mm(align(*aligned.images, deformable=False).transform) < 0.3


@pytest.mark.usefixtures("few_steps")
def test_the_field_undoes_a_breath_and_the_rigid_part_does_not(breathing: PhantomPair) -> None:
    before = breathing.error_mm(sitk.Transform())
    rigid = align(*breathing.images, deformable=False)
    deformable = align(*breathing.images)
    assert rigid.field is None
    assert breathing.error_mm(rigid.transform) > 0.4 * before
    assert breathing.error_mm(deformable.transform) < 0.8 * breathing.error_mm(rigid.transform)


@pytest.mark.slow
def test_the_whole_schedule_undoes_a_breath(breathing: PhantomPair) -> None:
    found = align(*breathing.images)
    assert breathing.error_mm(found.transform) < 0.35 * breathing.error_mm(sitk.Transform())
    assert least_determinant(found) > 0


def test_a_rigid_motion_is_undone(aligned: PhantomPair) -> None:
    ncct, cta, lung, _ = aligned.images
    motion = KnownMotion(lung, shift_mm=12, degrees=6, breath_mm=0)
    moved, moved_lung = motion.displace(cta), motion.displace(sitk.Cast(lung, sitk.sitkFloat32)) >= 0.5
    found = align(ncct, moved, lung, moved_lung, deformable=False)
    points = mask_points(lung)[::5]
    places = np.array([found.transform.TransformPoint(point) for point in points.tolist()])
    assert np.linalg.norm(motion.inverse(points) - points, axis=1).mean() > 10
    assert np.linalg.norm(places - motion.inverse(points), axis=1).mean() < 1.0


def test_scans_of_other_coordinates_find_each_other(aligned: PhantomPair) -> None:
    ncct, cta, lung, cta_lung = aligned.images
    for image in (cta, cta_lung):
        image.SetOrigin([place + shift for place, shift in zip(image.GetOrigin(), (300, -200, 900), strict=True)])
    found = align(ncct, cta, lung, cta_lung, deformable=False).transform
    points = mask_points(lung)[::5]
    places = np.array([found.TransformPoint(point) for point in points.tolist()])
    assert np.linalg.norm(places - points - (300, -200, 900), axis=1).mean() < 0.5


@pytest.mark.usefixtures("few_steps")
def test_the_same_seed_gives_the_same_bytes(breathing: PhantomPair) -> None:
    grid = breathing.images[0]
    first, second = (resample_hu(breathing.images[1], grid, align(*breathing.images).transform) for _ in range(2))
    other = align(*breathing.images, seed=1).transform
    np.testing.assert_array_equal(first, second)
    assert (resample_hu(breathing.images[1], grid, other) != first).any()


def test_a_folded_field_is_smoothed_until_it_is_not() -> None:
    field = np.zeros((20, 20, 20, 3))
    field[10, 10, 10] = 40.0
    image = sitk.GetImageFromArray(field, isVector=True)
    image.SetSpacing([4.0] * 3)
    assert least_determinant(Alignment(sitk.Transform(), image)) < 0
    assert least_determinant(Alignment(sitk.Transform(), alignment._unfold(image))) > 0


def test_images_without_anything_in_common_are_refused(aligned: PhantomPair) -> None:
    ncct, cta, lung, cta_lung = aligned.images
    with pytest.raises(InputError, match=r"registration failed.*one patient's chest"):
        align(ncct, cta[:, :, :2] * 0 - 1000, lung, cta_lung[:, :, 9:11], deformable=False)


def least_determinant(found: Alignment) -> float:
    return float(sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(found.field)).min())
