"""Movements are drawn for a whole sample, from its seed alone."""

from __future__ import annotations

import pytest
import torch

from ncct_cta.common.keys import LUNG, MOVEMENT, NCCT
from ncct_cta.transforms import RandMovement


def drawn(seed: int, spatial_dims: int = 2, **choices: float) -> torch.Tensor:
    movement = RandMovement(spatial_dims, **{"prob": 1.0, **choices})
    movement.set_random_state(seed=seed)
    return movement({})[MOVEMENT]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_seed_always_draws_the_same_movement(dims):
    assert drawn(3, dims).shape == (dims, dims + 1)
    assert torch.equal(drawn(3, dims), drawn(3, dims))
    assert not torch.equal(drawn(3, dims), drawn(4, dims))


def test_images_and_masks_are_left_to_whoever_moves_them_all():
    sample = {NCCT: torch.rand(1, 8, 8), LUNG: torch.zeros(1, 8, 8), "case": "p"}
    given = RandMovement(prob=1.0)(sample)
    assert given.keys() == {*sample, MOVEMENT}
    assert all(given[key] is sample[key] for key in sample)


def test_volumes_are_turned_about_the_body_axis_only():
    for seed in range(8):
        matrix = drawn(seed, 3)
        assert torch.count_nonzero(matrix[2, :2]) == torch.count_nonzero(matrix[:2, 2]) == 0
        assert torch.count_nonzero(matrix[:2, :2]) == 4


def test_nothing_is_ever_mirrored():
    assert all(torch.linalg.det(drawn(seed)[:, :2]) > 0.7 for seed in range(32))


def test_the_share_that_is_moved_and_how_far_can_be_chosen():
    still = torch.eye(2, 3)
    assert torch.equal(drawn(0, prob=0.0), still)
    assert torch.equal(drawn(0, rotation_rad=0.0, scaling=0.0, shift_voxels=0.0), still)
    assert torch.equal(drawn(0, rotation_rad=0.0, scaling=0.0)[:, :2], still[:, :2])
    moved = sum(not torch.equal(drawn(seed, prob=0.3), still) for seed in range(200))
    assert 40 < moved < 80


@pytest.mark.parametrize("size", [(64, 40), (32, 24, 16)], ids=["2-D", "3-D"])
def test_the_margin_is_as_wide_as_the_farthest_movement_of_a_corner(size):
    dims = len(size)
    margin = torch.tensor(RandMovement(dims).margin(size))
    corners = torch.cartesian_prod(*[torch.tensor([-side / 2, side / 2]) for side in size])
    farthest = torch.zeros(dims)
    for seed in range(300):
        matrix = drawn(seed, dims)
        reached = (corners @ matrix[:, :dims].T + matrix[:, dims]).abs().amax(dim=0)
        farthest = torch.maximum(farthest, reached - torch.tensor(size) / 2)
    assert (farthest + 2 <= margin).all()  # two voxels more: a spline's reach
    assert (farthest + 2 > 0.7 * margin).all()


def test_a_strength_turns_and_scales_farther_within_a_larger_margin():
    usual, twice = (drawn(5, strength=strength) - torch.eye(2, 3) for strength in (1.0, 2.0))
    assert torch.allclose(twice[0, 1], 2 * usual[0, 1], rtol=0.15)  # both the sine of the angle and the scaling grow
    margins = [RandMovement(strength=strength).margin((64, 64)) for strength in (1.0, 2.0)]
    assert margins == [(17, 17), (24, 24)]
