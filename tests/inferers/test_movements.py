"""Movements of test-time augmentation, and the mean of several predictions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncct_cta.common.hu import HUWindow
from ncct_cta.inferers.estimate import SD, averaged
from ncct_cta.inferers.movements import MOST_RADIANS, MOST_VOXELS, STILL, Movement, movements
from ncct_cta.inferers.volume import REFINED, VolumeInferer
from ncct_cta.networks import Stages
from ncct_cta.networks.ensemble import Ensemble
from ncct_cta.transforms.augmentation import ROTATION_RAD, SHIFT_VOXELS


def smooth(*shape: int) -> torch.Tensor:
    """Waves of many voxels, which linear interpolation hardly changes."""
    axes = torch.meshgrid(*(torch.linspace(0, 3, size) for size in shape), indexing="ij")
    return torch.sin(sum(axis * (1 + number) / 2 for number, axis in enumerate(axes)))[None, None]


class Adds(nn.Module):
    """Adds a constant, or what a function makes of the image."""

    def __init__(self, change: float) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.tensor(change))

    def forward(self, ncct: torch.Tensor) -> Stages:
        refined = ncct + self.change
        return Stages(refined, ncct * refined.abs(), refined)


def inferer(dims: int, count: int = 1) -> VolumeInferer:
    return VolumeInferer(window=HUWindow(-1000, 600), patch_size=(16,) * dims, movements=movements(count))


@pytest.mark.parametrize("shape", [(40, 56), (40, 56, 3)])
def test_a_movement_is_undone(shape: tuple[int, ...]) -> None:
    image = smooth(*shape)
    movement = Movement(0.1, (2.5, -1.5))
    moved = movement.moved(image)
    inside = (..., *(slice(8, -8) for _ in range(2)), *(slice(None) for _ in shape[2:]))
    assert (moved - image)[inside].abs().max() > 0.05
    assert (movement.undone(moved) - image)[inside].abs().max() < 5e-3


def test_a_shift_takes_each_voxel_from_where_it_says() -> None:
    image = smooth(20, 24)
    assert torch.allclose(Movement(voxels=(2, 3)).moved(image)[..., :-2, :-3], image[..., 2:, 3:], atol=1e-5)


def test_a_quarter_turn_is_one() -> None:
    image = torch.rand(2, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    turned = Movement(torch.pi / 2).moved(image)
    assert torch.allclose(turned, torch.rot90(image, 1, (2, 3)), atol=1e-5) or torch.allclose(
        turned, torch.rot90(image, -1, (2, 3)), atol=1e-5
    )


def test_the_movements_are_always_the_same_and_smaller_than_in_training() -> None:
    assert movements(5) == movements(8)[:5]
    assert len(set(movements(8))) == 8
    assert movements(1) == (STILL,)
    assert MOST_RADIANS < ROTATION_RAD
    assert MOST_VOXELS < SHIFT_VOXELS


def test_the_mean_and_the_spread_are_those_of_all_at_once() -> None:
    ncct = smooth(6, 5)
    images = torch.randn(4, *ncct.shape, generator=torch.Generator().manual_seed(0))
    estimate = averaged(ncct, ((2 * image, image) for image in images))
    assert torch.allclose(estimate.refined, images.mean(0), atol=1e-6)
    assert torch.allclose(estimate.sd, images.std(0), atol=1e-6)
    assert torch.allclose(estimate.coarse, 2 * images.mean(0), atol=1e-6)
    assert torch.equal(estimate.intermediate, ncct * estimate.coarse.abs())


@pytest.mark.parametrize("dims", [2, 3])
def test_an_ensemble_gives_the_mean_and_the_standard_deviation_in_hu(dims: int) -> None:
    hu = torch.full((20, 20, 6), -1000.0)
    hu[4:16, 4:16, 1:5] = 40.0
    network = Ensemble([Adds(change) for change in (0.01, 0.02, 0.06)])
    images = {REFINED: torch.empty(hu.shape), SD: torch.empty(hu.shape)}
    for _ in inferer(dims).synthesise(hu, network, images):
        pass
    body = (slice(4, 16), slice(4, 16), slice(1, 5))
    assert torch.allclose(images[REFINED][body], torch.tensor(40 + 0.03 * 800), atol=1e-2)
    assert torch.allclose(images[SD][body], torch.tensor([8.0, 16.0, 48.0]).std(), atol=1e-2)
    assert not images[SD][..., 0].any()  # outside the body nobody predicts anything


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("count", [1, 5])
def test_a_network_that_changes_nothing_gives_the_input_exactly_however_it_is_moved(count: int, dims: int) -> None:
    hu = torch.randint(-1000, 500, (30, 26, 5), generator=torch.Generator().manual_seed(0)).short()
    images = {REFINED: torch.empty(hu.shape, dtype=torch.int16)}
    if count > 1:
        images[SD] = torch.ones(hu.shape, dtype=torch.int16)
    for _ in inferer(dims, count).synthesise(hu, Adds(0.0), images):
        pass
    assert torch.equal(images[REFINED], hu)
    assert not images.get(SD, torch.zeros(1)).any()
