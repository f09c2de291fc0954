"""One optimiser's step: foreign gradients don't count, each net is clipped alone, nothing is left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ncct_cta.common.errors import InputError
from ncct_cta.engines import NetworkUpdate
from ncct_cta.networks import Generator, RefineNet, RegistrationNet, SynthesisCascade
from ncct_cta.settings import DiscriminatorConfig, RefineConfig, RegistrationConfig, TrainConfig
from ncct_cta.train.builders import build_adversary, build_update


def two_nets(grad_clip: float = 0.0, lr: float = 1.0) -> tuple[nn.Parameter, nn.Parameter, NetworkUpdate]:
    one, other = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([{"params": [one], "name": "G2"}, {"params": [other], "name": "R"}], lr=lr)
    return one, other, NetworkUpdate(optimizer, LambdaLR(optimizer, lambda step: 0.5**step), grad_clip=grad_clip)


def test_a_step_goes_down_its_loss_and_names_each_nets_norm():
    one, other, update = two_nets()
    norms = update(3 * one.sum() + 4 * other[0])
    assert one.tolist() == [-3, -3]
    assert other.tolist() == [-4, 0]
    assert {name: float(norm) for name, norm in norms.items()} == pytest.approx({"gnorm_G2": 18**0.5, "gnorm_R": 4.0})


def test_gradients_that_were_there_before_do_not_count_and_none_stay():
    one, other, update = two_nets()
    one.grad, other.grad = torch.full((2,), 50.0), torch.full((2,), 50.0)
    update(one.sum())
    assert one.tolist() == [-1, -1]
    assert other.tolist() == [0, 0]
    assert one.grad is None
    assert other.grad is None


def test_each_net_is_clipped_by_its_own_norm():
    one, other, update = two_nets(grad_clip=1.0)
    update(100 * one[0] + 0.5 * other[0])
    assert one.tolist() == pytest.approx([-1, 0], abs=1e-4)
    assert other.tolist() == pytest.approx([-0.5, 0])


def test_the_rate_moves_on_with_every_step_and_the_first_groups_is_logged():
    one, _, update = two_nets(lr=2.0)
    rates = []
    for _ in range(3):
        update(one.sum())
        rates.append(update.lr)
    assert rates == [2.0, 1.0, 0.5]


def test_the_scaler_scales_the_loss_and_not_the_step():
    one, _, update = two_nets()
    scaled = NetworkUpdate(update.optimizer, update.lr_scheduler, torch.amp.GradScaler("cpu", init_scale=1024.0))
    norms = scaled(3 * one[0])
    assert one.tolist() == pytest.approx([-3, 0])
    assert float(norms["gnorm_G2"]) == pytest.approx(3)


def test_an_overflow_skips_the_step_and_lowers_the_scale():
    one, _, update = two_nets()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    NetworkUpdate(update.optimizer, update.lr_scheduler, scaler)(one[0] * float("inf"))
    assert one.tolist() == [0, 0]
    assert scaler.get_scale() == 512
    assert update.lr_scheduler.last_epoch == 0  # PyTorch warns of a schedule that runs ahead of its optimiser


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(factor):
    one, other, update = two_nets(grad_clip=1.0)
    # The square root's derivative at 0 is infinite though its value is 0.
    loss = one.sum() + (other.abs().sqrt().sum() if factor == float("inf") else other.sum() * 0)
    other.register_hook(lambda gradient: gradient * factor)
    with pytest.raises(InputError, match=r"a gradient isn't finite \(gnorm_G2 1\.41.*, gnorm_R (nan|inf)\)"):
        update(loss)
    assert one.tolist() == [0, 0]
    assert other.tolist() == [0, 0]
    assert update.lr_scheduler.last_epoch == 0


def cascade(*, frozen: bool) -> SynthesisCascade:
    return SynthesisCascade(
        Generator(channels=(4, 8), num_res_units=0), RefineNet(hidden_dim=4, num_blocks=1), freeze_generator=frozen
    )


def groups(network: SynthesisCascade, registration: nn.Module | None = None) -> dict[str, tuple[float, int]]:
    """Each group's learning rate and number of weights."""
    optimizer = build_update(
        network,
        registration,
        train=TrainConfig(lr=1e-3, warmup_steps=0),
        refine=RefineConfig(enabled=True, lr=2e-3, warmup_steps=0),
        registration=RegistrationConfig(lr=3e-3),
    ).optimizer
    return {
        group["name"]: (group["lr"], sum(parameter.numel() for parameter in group["params"]))
        for group in optimizer.param_groups
    }


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_net_trains_with_its_own_rate():
    network, registration = cascade(frozen=False), RegistrationNet(2)
    assert groups(network, registration) == {
        "G2": (2e-3, size(network.refine_net)),
        "G": (1e-3, size(network.generator)),
        "R": (3e-3, size(registration)),
    }


def test_a_frozen_g_is_not_in_the_optimiser():
    network = cascade(frozen=True)
    assert groups(network) == {"G2": (2e-3, size(network.refine_net))}


def test_the_discriminator_has_an_optimiser_of_its_own_and_its_rate_ends_at_zero():
    settings = DiscriminatorConfig(enabled=True, lr=4e-4, warmup_steps=2, warmup_epochs=0)
    adversary = build_adversary(nn.Linear(2, 1), settings, TrainConfig(num_epochs=3, steps_per_epoch=4))
    optimizer = adversary.update.optimizer
    rates = []
    for _ in range(12):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        adversary.update.lr_scheduler.step()
    assert optimizer.param_groups[0]["name"] == "D"
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)  # a GAN's
    assert max(rates) == pytest.approx(4e-4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("skip", "epochs"), [(True, 0), ("true", 0), (False, 7), ("false", 7)])
def test_the_warm_up_is_skipped_when_it_is_meant_to_be(skip, epochs):
    """MONAI's command line gives ``false`` as a string, which is true for Python."""
    train = TrainConfig.parse(skip_warmup=skip)
    adversary = build_adversary(nn.Linear(2, 1), DiscriminatorConfig(enabled=True, warmup_epochs=7), train)
    assert adversary.warmup_epochs == epochs


def test_a_net_that_has_not_joined_is_left_alone_and_has_no_norm() -> None:
    one, other, update = two_nets()
    assert set(update(one.sum())) == {"gnorm_G2"}
    assert other.tolist() == [0, 0]
