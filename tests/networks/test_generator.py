import pytest
import torch

from ncct_cta.networks import Generator


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
