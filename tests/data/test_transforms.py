"""Preparation of a case, and augmentation that moves all of its images alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from ncct_cta.common.errors import InputError
from ncct_cta.common.keys import BODY, CTA, LUNG, NCCT, VESSEL
from ncct_cta.data.case_preparation import CasePreparation, paired_augmentation
from ncct_cta.data.cases import Case, read_case_list

ROLES = ("ncct", "cta", "lung", "vessel")


@pytest.fixture(scope="module")
def case(cohort: Path) -> Case:
    return read_case_list(cohort)["training"][0]


@pytest.fixture(scope="module")
def prepared(case):
    return CasePreparation()(case)


def rewritten(case: Case, folder: Path, axes: str, roles: tuple[str, ...] = ROLES) -> Case:
    """The same scan, stored along other axes."""
    target = nib.orientations.axcodes2ornt(axes)
    files = {}
    for role in roles:
        image = nib.load(getattr(case, role))
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), target)
        files[role] = folder / f"{case.name}_{role}.nii.gz"
        image.as_reoriented(turn).to_filename(files[role])
    return Case(case.name, **files)


def test_images_are_hu_and_masks_are_binary_on_one_ras_grid(prepared):
    arrays, affine = prepared
    assert arrays.keys() == {NCCT, CTA, LUNG, VESSEL, BODY}
    assert {array.shape for array in arrays.values()} == {(48, 48, 24)}
    assert all(arrays[key].dtype == np.int16 for key in (NCCT, CTA))
    for key in (LUNG, VESSEL, BODY):
        assert arrays[key].dtype == np.uint8
        assert set(np.unique(arrays[key])) == {0, 1}
    assert nib.aff2axcodes(affine) == ("R", "A", "S")


@pytest.mark.parametrize("axes", ["LPS", "ASL", "PIR"])
def test_the_orientation_on_disk_does_not_matter(case, prepared, tmp_path, axes):
    arrays, affine = CasePreparation()(rewritten(case, tmp_path, axes))
    for key, array in prepared[0].items():
        assert np.array_equal(arrays[key], array)
    assert np.allclose(affine, prepared[1])


def test_hu_survive_exactly(case, prepared):
    image = nib.as_closest_canonical(nib.load(case.cta))
    assert np.array_equal(prepared[0][CTA], np.rint(image.get_fdata()))


def test_masks_that_no_file_gives_are_computed(case, prepared):
    arrays, _ = CasePreparation()(dataclasses.replace(case, vessel=None))
    derived, given = arrays[VESSEL] > 0, prepared[0][VESSEL] > 0
    assert derived.any()
    # Where the CTA enhances; most of it must be vessel.
    assert (derived & given).sum() > 0.5 * derived.sum()


def test_a_spacing_resamples_all_images_onto_one_grid(case):
    arrays, affine = CasePreparation((14.0, 14.0, 10.5))(case)
    assert np.allclose(np.linalg.norm(affine[:3, :3], axis=0), (14.0, 14.0, 10.5))
    shapes = {array.shape for array in arrays.values()}
    assert len(shapes) == 1
    (shape,) = shapes
    assert abs(shape[0] - 24) <= 1
    assert shape[2] == 24
    assert set(np.unique(arrays[LUNG])) == {0, 1}


def test_a_case_without_cta_is_named(case):
    with pytest.raises(InputError, match=f"case {case.name}: there is no CTA"):
        CasePreparation()(dataclasses.replace(case, cta=None))


def test_grids_that_differ_are_named(case, tmp_path):
    image = nib.load(case.cta)
    shifted = nib.Nifti1Image(np.asarray(image.dataobj), image.affine + np.diag([0.5, 0, 0, 0]))
    shifted.to_filename(tmp_path / "cta.nii.gz")
    with pytest.raises(InputError, match=case.name):
        CasePreparation()(dataclasses.replace(case, cta=tmp_path / "cta.nii.gz"))


def augmented(volume: torch.Tensor, seed: int) -> torch.Tensor:
    transform = paired_augmentation(volume.ndim - 1, (NCCT,))
    transform.prob = 1.0
    transform.set_random_state(seed=seed)
    return torch.as_tensor(transform({NCCT: volume.clone()})[NCCT])


def test_patches_of_a_volume_are_turned_about_the_body_axis_only():
    ramp = torch.linspace(-1, 1, 24).expand(1, 32, 32, 24)  # changes from foot to head only
    for seed in range(8):
        moved = augmented(ramp, seed)
        assert not torch.allclose(moved, ramp, atol=1e-3)
        assert moved[0].flatten(0, 1).std(dim=0).max() < 1e-5


def test_slices_are_turned_scaled_and_shifted_but_never_mirrored():
    half = torch.zeros(1, 64, 64)
    half[:, :32] = 1.0  # the left half; stays the left half
    for seed in range(16):
        moved = augmented(half, seed)
        assert not torch.equal(moved, half)
        assert moved[0, :16].mean() > 0.9
        assert moved[0, 48:].mean() < 0.1


def test_intensities_are_left_alone():
    for seed in range(4):
        assert torch.allclose(augmented(torch.full((1, 32, 32), 0.37), seed), torch.tensor(0.37), atol=1e-6)
