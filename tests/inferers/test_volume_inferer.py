from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from ncct_cta.common.hu import HUWindow
from ncct_cta.inferers.movements import movements
from ncct_cta.inferers.volume import REFINED, VolumeInferer
from ncct_cta.networks import Stages

WINDOW = HUWindow(-1000, 1000)


class Network(nn.Module):
    """A cascade that adds a constant, and remembers what it saw."""

    def __init__(self, change: float = 0.0) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.tensor(change))
        self.seen: list[torch.Tensor] = []

    def forward(self, ncct: torch.Tensor) -> Stages:
        self.seen.append(ncct.clone())
        refined = ncct + self.change
        return Stages(refined, refined, refined)


def volume_hu(*shape: int, seed: int = 0) -> torch.Tensor:
    """(1, 1, X, Y, Z) whole HU, a good part of them outside the window."""
    return torch.randint(-1500, 2500, (1, 1, *shape), generator=torch.Generator().manual_seed(seed)).float()


def slices(**arguments: object) -> VolumeInferer:
    return VolumeInferer(**{"window": WINDOW, "patch_size": (16, 16), "multiple": 16, "batch_size": 4, **arguments})


def windows(**arguments: object) -> VolumeInferer:
    return VolumeInferer(**{"window": WINDOW, "patch_size": (16, 16, 8), "batch_size": 3, **arguments})


def test_a_slice_is_the_bodys_box_in_air_of_a_size_that_can_be_halved() -> None:
    hu, network = volume_hu(20, 35, 5), Network(0.1)
    synthetic = slices()(hu, network)
    assert synthetic.shape == hu.shape
    seen = torch.cat(network.seen)
    assert seen.shape == (5, 1, 48, 64)
    inside = (..., slice(14, 34), slice(15, 50))
    assert torch.equal(seen[inside], WINDOW.normalise(hu[0]).permute(3, 0, 1, 2))
    seen[inside] = -1
    assert (seen == -1).all()


def test_slices_without_a_body_are_left_as_they_are() -> None:
    hu, network = volume_hu(16, 16, 7), Network(0.1)
    hu[..., :2], hu[..., 5:] = -900, -950
    change = slices(batch_size=2)(hu, network) - hu
    assert len(torch.cat(network.seen)) == 3
    assert change[..., 2:5] == pytest.approx(100, abs=1e-2)
    assert not change[..., :2].any()
    assert not change[..., 5:].any()


@pytest.mark.parametrize(("depth", "batch_size"), [(10, 4), (8, 4), (3, 4), (5, 1), (2, 100)])
def test_batches_cover_every_slice_once_and_in_place(depth: int, batch_size: int) -> None:
    hu = volume_hu(16, 16, depth)[0, 0]
    covered = torch.zeros(depth)
    for batch in slices(batch_size=batch_size).synthesise(hu, Network(0.5), {}):
        assert len(batch.ncct) <= batch_size
        assert torch.equal(batch.ncct, WINDOW.normalise(hu[..., batch.span]).permute(2, 0, 1)[:, None])
        assert torch.equal(batch.stages.refined, batch.ncct + 0.5)
        assert torch.allclose(batch.change(REFINED), torch.tensor(0.5))
        assert batch.change(REFINED).shape == hu[..., batch.span].shape
        covered[batch.span] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("build", ["slices", "windows"])
def test_every_stage_is_written_in_the_type_of_its_image(build: str) -> None:
    hu, inferer = volume_hu(20, 18, 9)[0, 0], {"slices": slices, "windows": windows}[build]()
    images = {REFINED: torch.empty(hu.shape, dtype=torch.int16), "coarse": torch.empty(hu.shape)}
    for _ in inferer.synthesise(hu, Network(0.1004), images):
        pass
    assert torch.equal(images[REFINED], (hu + 100).short())  # 100.4 HU, rounded
    assert images["coarse"] - hu == pytest.approx(100.4, abs=1e-2)


def test_slices_that_run_side_by_side_come_back_in_order() -> None:
    class LastFirst(Network):
        """Takes longest for the darkest slice, and says how many threads it may use."""

        def forward(self, ncct: torch.Tensor) -> Stages:
            time.sleep(0.02 * float(1 - ncct.mean()))
            self.seen.append(torch.tensor(torch.get_num_threads()))
            return Stages(ncct, ncct, ncct)

    hu, network, threads = torch.arange(-300.0, 500, 100).expand(16, 16, 8), LastFirst(), torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        (batch,) = slices(batch_size=8).synthesise(hu, network, {})
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(batch.stages.refined[:, 0].permute(1, 2, 0), WINDOW.normalise(hu))
    assert {int(used) for used in network.seen} == {1}


@pytest.mark.parametrize("inferer", [slices(), slices(windowed=True), windows()])
def test_a_network_that_changes_nothing_gives_the_input(inferer: VolumeInferer) -> None:
    hu = volume_hu(21, 18, 11)
    synthetic = inferer(hu, Network())
    assert synthetic.dtype == torch.float32
    # Blending divides by the sum of the Gaussian weights, which costs the last digits.
    assert (synthetic - hu).abs().max() < 1e-3
    assert torch.equal(synthetic.round(), hu)


@pytest.mark.parametrize("inferer", [slices(), slices(windowed=True), windows()])
def test_a_change_is_half_the_window_a_unit(inferer: VolumeInferer) -> None:
    hu = volume_hu(21, 18, 11)
    assert inferer(hu, Network(0.25)) - hu == pytest.approx(250, abs=1e-2)


@pytest.mark.parametrize(("build", "patch"), [(windows, (16, 16, 8)), (partial(slices, windowed=True), (16, 16))])
def test_windows_have_the_patchs_size_and_overlap(build: Callable[..., VolumeInferer], patch: tuple[int, ...]) -> None:
    network = Network()
    build(overlap=0.5, batch_size=100)(volume_hu(16, 8, 8), network)  # 32 x 24 voxels with the air around
    seen = torch.cat(network.seen)
    in_depth = 8 if len(patch) == 2 else 1
    assert seen.shape == (3 * 2 * in_depth, 1, *patch)
    first, below = seen[0, 0], seen[2, 0]
    assert torch.equal(first[8:], below[:8])


def test_overlapping_windows_are_blended_with_gaussian_weights() -> None:
    class EdgesWrong(Network):
        """Right in the middle of a window, wrong at its two ends, as networks are."""

        def forward(self, ncct: torch.Tensor) -> Stages:
            error = torch.zeros_like(ncct)
            error[..., 0, :, :], error[..., -1, :, :] = 1, 1
            return Stages(*[ncct + error] * 3)

    hu = torch.zeros(1, 1, 28, 16, 8)
    change = windows(overlap=0.25)(hu, EdgesWrong())[0, 0, :, 8, 4]
    # Windows start at -8 and 4: where the second begins, wrong, the first is nearer to its middle, and right.
    assert 0 < change[4] < 150  # equal weights would give 500
    assert change[0].abs() < 1e-3


def test_a_volume_smaller_than_the_patch_is_taken_in_air_and_along_z_by_repeating_its_ends() -> None:
    hu, network = volume_hu(6, 5, 3), Network(0.1)
    assert windows()(hu, network) - hu == pytest.approx(100, abs=1e-2)
    seen = torch.cat(network.seen)
    assert seen.shape[1:] == (1, 16, 16, 8)
    assert (seen[..., 0, :, :] == -1).all()
    assert torch.equal(seen[..., 0], seen[..., 1])


@pytest.mark.parametrize("build", [slices, partial(slices, windowed=True), windows])
def test_a_table_stays_as_it_is(build: Callable[..., VolumeInferer]) -> None:
    hu = torch.full((1, 1, 40, 40, 8), -1000.0)
    hu[..., 12:30, 12:30, :] = 40
    hu[..., 12:30, 5, :] = 300
    change = build()(hu, Network(0.25)) - hu
    assert change[..., 12:30, 12:30, :] == pytest.approx(250, abs=1e-2)
    assert (change[..., :8, :] == 0).all()


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("build", [slices, partial(slices, windowed=True), windows])
def test_the_batch_size_does_not_change_the_result(build: Callable[..., VolumeInferer], batch_size: int) -> None:
    hu, network = volume_hu(20, 18, 9), Network(0.1)
    assert (build(batch_size=batch_size)(hu, network) - build(batch_size=2)(hu, network)).abs().max() < 1e-3


def test_the_network_runs_in_eval_mode_and_without_gradient() -> None:
    network = Network(0.1).train()
    synthetic = slices()(volume_hu(16, 16, 2), network)
    assert not network.training
    assert not synthetic.requires_grad


def test_mixed_precision_comes_back_as_float32() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1), Network())
    seen = network[1].seen
    (batch,) = slices(amp="bf16").synthesise(volume_hu(16, 16, 2)[0, 0], network, {})
    assert seen[0].dtype == torch.bfloat16
    assert batch.stages.refined.dtype == batch.ncct.dtype == torch.float32


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_slice_is_shown_with_those_around_it_across_batches(batch_size: int, windowed: bool) -> None:
    class MeanOfThree(Network):
        def forward(self, ncct: torch.Tensor) -> Stages:
            assert ncct.shape[1] == 3
            mean = ncct.mean(dim=1, keepdim=True)
            return Stages(mean, mean, mean)

    hu = torch.full((16, 16, 7), -950.0)
    hu[..., 1:6] = torch.tensor([10.0, 20.0, 40.0, 80.0, 160.0])
    inferer = slices(in_slices=3, batch_size=batch_size, windowed=windowed)
    synthetic = inferer(hu[None, None], MeanOfThree())[0, 0]
    # The body's first and last slices are repeated; the air beyond it counts for nothing.
    expected = torch.tensor([-950, 40 / 3, 70 / 3, 140 / 3, 280 / 3, 400 / 3, -950])
    assert torch.allclose(synthetic, expected.expand(16, 16, 7), atol=1e-2)


def test_movements_and_several_slices_go_together() -> None:
    class FirstAndLast(Network):
        def forward(self, ncct: torch.Tensor) -> Stages:
            image = ncct[:, 1:2] + 0.1
            return Stages(image, image, image)

    hu = volume_hu(16, 16, 4)
    moving = slices(in_slices=3, movements=movements(3))(hu, FirstAndLast())
    assert moving - hu == pytest.approx(100, abs=0.1)
