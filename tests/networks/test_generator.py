import pytest
import torch

from ncct_cta.networks import Generator, watched_gates


def small_generator(**kwargs):
    torch.manual_seed(0)
    return Generator(channels=(4, 8, 16), num_res_units=1, **kwargs)


def test_full_size_preset_has_about_61_million_parameters():
    with torch.device("meta"):
        count = sum(p.numel() for p in Generator().parameters())
    assert 58e6 <= count <= 64e6


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_coarse_has_the_input_shape_and_stays_in_range(spatial_dims):
    generator = small_generator(spatial_dims=spatial_dims)
    ncct = torch.rand(2, 1, *(16,) * spatial_dims) * 2 - 1
    coarse = generator(ncct)
    assert coarse.shape == ncct.shape
    assert coarse.min() >= -1
    assert coarse.max() <= 1


def test_residual_output_adds_the_input():
    residual, direct = small_generator(residual_output=True), small_generator(residual_output=False)
    residual.load_state_dict(direct.state_dict())
    ncct = torch.rand(1, 1, 16, 16) * 0.2
    change = direct.net(ncct)
    assert change.abs().max() > 1e-3
    torch.testing.assert_close(residual(ncct), (ncct + change).clamp(-1, 1))
    torch.testing.assert_close(direct(ncct), change.clamp(-1, 1))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_residual_output_starts_as_the_identity(spatial_dims):
    ncct = torch.rand(1, 1, *[16] * spatial_dims) * 2 - 1
    assert torch.equal(small_generator(spatial_dims=spatial_dims)(ncct), ncct)


def test_multiple_is_the_smallest_size_that_the_levels_halve():
    generator = small_generator()
    assert generator.multiple == 4
    generator(torch.zeros(1, 1, 4 * 3, 4 * 5))


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_every_norm_of_the_settings_builds(norm):
    torch.manual_seed(0)
    generator = Generator(channels=(8, 16), num_res_units=1, norm=norm)
    assert generator(torch.rand(2, 1, 16, 16)).isfinite().all()


def test_a_gated_head_changes_by_gate_times_amount():
    generator = small_generator(head="gated")
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ncct = torch.rand(2, 1, 16, 16) * 0.2
    gate, amount = generator.net(ncct).unbind(1)
    expected = (ncct[:, 0] + amount / (1 + (-gate).exp())).clamp(-1, 1)
    assert (expected - ncct[:, 0]).abs().max() > 1e-2
    torch.testing.assert_close(generator(ncct)[:, 0], expected)


def test_the_logits_of_a_gate_are_watched_while_it_trains():
    generator = small_generator(head="gated")
    ncct = torch.rand(1, 1, 16, 16)
    with watched_gates(generator) as seen:
        generator(ncct)
        with torch.no_grad():  # as a frozen G computes
            generator(ncct)
    generator(ncct)
    (logits,) = seen
    assert torch.equal(logits, generator.net(ncct)[:, :1])
    logits.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in generator.parameters())
    with watched_gates(small_generator()) as none:
        small_generator()(ncct)
    assert none == []
