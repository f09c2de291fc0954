"""Augmentation moves all images of a sample alike, and nothing but moves them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from ncct_cta.common.keys import CTA, LUNG, NCCT
from ncct_cta.transforms import RandPairedAffined


def augmented(volume: torch.Tensor, seed: int) -> torch.Tensor:
    transform = RandPairedAffined(NCCT, spatial_dims=volume.ndim - 1, prob=1.0)
    transform.set_random_state(seed=seed)
    return transform({NCCT: volume.clone()})[NCCT]


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


def test_all_images_are_moved_alike_and_masks_stay_binary():
    random = torch.Generator().manual_seed(0)
    image = torch.rand(1, 40, 40, generator=random)
    mask = (image > 0.5).float()
    move = RandPairedAffined((NCCT, CTA), LUNG, prob=1.0)
    move.set_random_state(seed=3)
    moved = move({NCCT: image, CTA: image + 1, LUNG: mask, "case": "p"})
    assert torch.allclose(moved[CTA] - moved[NCCT], torch.tensor(1.0), atol=1e-5)
    assert set(moved[LUNG].unique().tolist()) == {0.0, 1.0}
    move.set_random_state(seed=3)
    assert torch.equal(move({LUNG: mask, NCCT: image, CTA: image})[LUNG], moved[LUNG])
    assert moved["case"] == "p"
    assert all(type(moved[key]) is torch.Tensor and moved[key].shape == (1, 40, 40) for key in (NCCT, CTA, LUNG))


def test_the_share_that_is_moved_and_how_far_can_be_chosen():
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    still = RandPairedAffined(NCCT, prob=1.0, rotation_rad=0.0, scaling=0.0, shift_voxels=0.0)
    assert torch.allclose(still({NCCT: image})[NCCT], image, atol=1e-5)
    assert torch.equal(RandPairedAffined(NCCT, prob=0.0)({NCCT: image})[NCCT], image)


def test_a_missing_image_is_passed_over_only_where_that_is_wanted():
    image = torch.rand(1, 16, 16)
    assert RandPairedAffined((NCCT, CTA), LUNG, allow_missing_keys=True)({NCCT: image}).keys() == {NCCT}
    with pytest.raises(KeyError):
        RandPairedAffined((NCCT, CTA), LUNG)({NCCT: image})


def test_the_noise_of_a_slice_stays():
    # A CT's noise is correlated over some voxels by the reconstruction kernel, as the phantoms' is.
    (margin, _) = RandPairedAffined(NCCT).margin((64, 64))
    side = 64 + 2 * margin
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((1, side, side)), (0, 0.7, 0.7))
    patch = (0, slice(margin, -margin), slice(margin, -margin))
    for seed in range(6):
        assert augmented(torch.from_numpy(noise.astype(np.float32)), seed)[patch].std() > 0.95 * noise[patch].std()


@pytest.mark.parametrize("size", [(64, 40), (32, 24, 16)], ids=["2-D", "3-D"])
def test_with_its_margin_no_voxel_of_a_patch_is_a_repeated_edge(size):
    margin = RandPairedAffined(NCCT, spatial_dims=len(size)).margin(size)
    shape = tuple(side + 2 * more for side, more in zip(size, margin, strict=True))
    patch = (0, *(slice(more, more + side) for side, more in zip(size, margin, strict=True)))
    for axis, side in enumerate(shape):
        ramp = torch.arange(side, dtype=torch.float32).reshape([-1 if n == axis else 1 for n in range(len(shape))])
        for seed in range(12):
            steps = augmented(ramp.expand(1, *shape), seed)[patch].diff(dim=axis)
            assert steps.min() > 0.85  # at a repeated edge the ramp would be flat
