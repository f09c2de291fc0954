"""What surrounds the patient must not change the prediction: the body's box, and networks of every kind on it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from ncct_cta.common.hu import AIR_HU, HUWindow
from ncct_cta.inferers import VolumeInferer
from ncct_cta.inferers.region import MARGIN, body_box, cut, paste, widened
from ncct_cta.networks import Generator, RefineNet, SynthesisCascade

SHAPE = (44, 38, 12)


@pytest.fixture(scope="module")
def chest() -> torch.Tensor:
    """(X, Y, Z) int16 HU: a noisy body in noisy air that touches the scan's first and last slice and one side."""
    x, y, _ = torch.meshgrid(*(torch.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    body = (x + 0.4) ** 2 / 0.5 + y**2 / 0.6 < 1
    return torch.where(body, 40 + 60 * noise, AIR_HU + 20 * noise).round().short()


def in_more_air(hu: torch.Tensor, voxels: int) -> torch.Tensor:
    return functional.pad(hu, (voxels,) * 6, value=AIR_HU)


def network(spatial_dims: int, norm: str) -> nn.Module:
    torch.manual_seed(0)
    generator = Generator(spatial_dims, channels=(4, 8, 8), num_res_units=1, norm=norm)
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.2)
    return SynthesisCascade(generator, RefineNet(spatial_dims, hidden_dim=4, num_blocks=1)).eval()


@pytest.mark.parametrize("voxels", [32, 5])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("patch", [(16, 16), (16, 16, 8)])
def test_more_air_around_changes_nothing_in_the_body(
    chest: torch.Tensor, patch: tuple[int, ...], norm: str, voxels: int
) -> None:
    inferer = VolumeInferer(
        window=HUWindow(-1000, 600), patch_size=patch, multiple=4, windowed=norm == "instance", batch_size=3
    )
    net = network(len(patch), norm)
    synthetic = inferer(chest[None, None], net)[0, 0]
    inside = (slice(voxels, -voxels),) * 3
    in_air = inferer(in_more_air(chest, voxels)[None, None], net)[0, 0][inside]
    body = chest > -400
    assert (synthetic - chest)[body].abs().mean() > 5  # or it would prove nothing
    assert (synthetic - in_air)[body].abs().mean() < 1


def test_the_box_holds_all_tissue_and_moves_with_the_body(chest: torch.Tensor) -> None:
    box = body_box(chest)
    assert (chest[box] > -400).sum() == (chest > -400).sum()
    assert body_box(in_more_air(chest, 7)) == tuple(slice(side.start + 7, side.stop + 7) for side in box)
    assert box[0].start == 0  # it touches a side
    assert box[2] == slice(0, SHAPE[2])


def test_without_tissue_the_box_is_the_volume() -> None:
    assert body_box(torch.full((5, 6, 7), AIR_HU)) == (slice(0, 5), slice(0, 6), slice(0, 7))


def test_a_box_is_widened_evenly_in_the_slice_alone() -> None:
    box = (slice(10, 20), slice(3, 7), slice(0, 9))
    assert widened(box) == (slice(10 - MARGIN, 20 + MARGIN), slice(3 - MARGIN, 7 + MARGIN), slice(0, 9))
    assert widened(box, (64, 10), multiple=16) == (slice(-17, 47), slice(-11, 21), slice(0, 9))


def test_what_is_cut_can_be_pasted_back_and_air_fills_what_lies_beyond() -> None:
    image = torch.rand(2, 1, 5, 6)
    box = (slice(-2, 3), slice(1, 9))
    part = cut(image, box, -1)
    assert part.shape == (2, 1, 5, 8)
    assert (part[..., :2, :] == -1).all()
    assert (part[..., 5:] == -1).all()
    back = torch.zeros_like(image)
    paste(part, box, back)
    assert torch.equal(back[..., :3, 1:], image[..., :3, 1:])
    assert not back[..., 3:, :].any()
    assert not back[..., 0].any()
