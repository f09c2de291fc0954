"""What surrounds the patient must not change the prediction: the body's box, and networks of every kind on it."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from ncct_cta.common.hu import AIR_HU, HUWindow
from ncct_cta.inferers import VolumeInferer
from ncct_cta.inferers.region import FINE, MARGIN, body_box, cut, find_body, paste, widened, within
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
    box = body_box(find_body(chest).boxes)
    assert (chest[box] > -400).sum() == (chest > -400).sum()
    moved = body_box(find_body(in_more_air(chest, 7)).boxes)
    assert moved == tuple(slice(side.start + 7, side.stop + 7) for side in box)
    assert box[0].start == 0  # it touches a side
    assert box[2] == slice(0, SHAPE[2])


def test_each_slice_has_a_box_of_its_own_and_one_beside_the_body_none() -> None:
    hu = torch.full((30, 20, 4), AIR_HU)
    hu[5:9, 3:7, 0], hu[4:12, 3:9, 1] = 0, 0
    boxes = find_body(hu).boxes
    assert boxes == [(slice(5, 9), slice(3, 7)), (slice(4, 12), slice(3, 9)), None, None]
    assert body_box(boxes) == (slice(4, 12), slice(3, 9), slice(0, 2))


def test_a_table_and_specks_of_noise_are_no_body() -> None:
    hu = torch.full((FINE, FINE, 3), AIR_HU)
    hu[60:200, 80:220] = 0
    hu[:, 74:77] = 0  # a table's shell in the scan's whole width
    hu[90:100, 77:80] = 0  # which the body touches
    hu[5, 5], hu[250, 250] = 3000, 3000
    for box in find_body(hu).boxes:
        assert box is not None
        assert all(abs(side.start - first) < MARGIN for side, first in zip(box, (60, 80), strict=True))
        assert all(abs(side.stop - last) < MARGIN for side, last in zip(box, (200, 220), strict=True))


def test_what_lies_inside_is_the_body_its_holes_and_its_skin_and_no_table() -> None:
    hu = torch.full((FINE, FINE, 2), AIR_HU)
    hu[60:200, 80:220] = 0
    hu[90:120, 100:150] = AIR_HU  # a lung
    hu[:, 60:63] = 0  # a table's shell
    inside = find_body(hu).inside(slice(None), hu.shape[:2])
    assert inside.shape == (2, FINE, FINE)
    assert inside[:, 60:200, 80:220].all()
    assert not inside[:, :, :70].any()
    assert not inside[:, :50].any()


def test_where_the_body_is_cut_off_all_of_a_slice_may_change() -> None:
    hu = torch.full((40, 40, 3), AIR_HU)
    hu[10:30, 10:30] = 0
    hu[:10, 15:20, 1] = 0
    inside = find_body(hu).inside(slice(None), hu.shape[:2])
    assert inside[1].all()
    assert not inside[[0, 2], :5].any()


def test_a_damaged_slice_does_not_hide_the_body_beyond_it() -> None:
    hu = torch.full((20, 20, 40), AIR_HU)
    hu[4:16, 4:16] = 0
    hu[..., 2], hu[..., 10] = AIR_HU, AIR_HU
    assert [z for z, box in enumerate(find_body(hu).boxes) if box is None] == [2, 10]


def test_without_tissue_the_box_is_the_volume() -> None:
    assert body_box(find_body(torch.full((5, 6, 7), AIR_HU)).boxes) == (slice(0, 5), slice(0, 6), slice(0, 7))


def test_a_slice_is_seen_in_the_places_of_the_whole_scans_box() -> None:
    seen = (slice(-20, 76), slice(10, 106))
    part = within(seen, (slice(30, 50), slice(40, 50)), (16, 64), 16)
    assert part == (slice(12, 60), slice(26, 90))  # 16 voxels, or a multiple of these, from where the box begins
    assert within(seen, (slice(-12, 68), slice(18, 98)), (16, 16), 16) == seen
    assert within(seen, (slice(60, 68), slice(90, 98)), (64, 64), 16) == (slice(12, 76), slice(42, 106))


def test_the_body_of_a_narrow_slice_is_as_if_the_network_had_seen_the_widest_ones_box() -> None:
    hu = torch.full((96, 96, 8), AIR_HU)
    hu[8:88, 8:88, :4], hu[30:50, 40:60, 4:] = 40, 40
    hu += (30 * torch.randn(hu.shape, generator=torch.Generator().manual_seed(0))).round().int()
    inferer, net = VolumeInferer(window=HUWindow(-1000, 600), patch_size=(32, 32), multiple=4), network(2, "batch")
    seen = [batch.stages.refined.shape for batch in inferer.synthesise(hu, net, {})]
    assert len(seen) == 2
    narrow, wide = inferer(hu[None, None].float(), net)[0, 0], hu.clone()
    wide[..., 4:] = torch.where(hu[..., 4:] > -400, hu[..., 4:], AIR_HU)
    for x, y in itertools.product((8, 87), repeat=2):
        wide[x, y, 4:] = 0  # far from the body, but of it where slices are joined
    body = hu[..., 4:] > -400
    assert (narrow[..., 4:] - hu[..., 4:])[body].abs().mean() > 5
    found = inferer(wide[None, None].float(), net)[0, 0][..., 4:]
    assert (found - narrow[..., 4:])[body].abs().mean() < 1


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
