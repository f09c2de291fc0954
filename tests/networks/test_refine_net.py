import pytest
import torch
from torch import nn

from ncct_cta.networks import RefineNet


def small_refine_net(spatial_dims=2, in_channels=1, trained=False):
    torch.manual_seed(0)
    refine_net = RefineNet(spatial_dims, in_channels, hidden_dim=8, num_blocks=2)
    if trained:
        nn.init.normal_(refine_net.conv_out.weight)
    return refine_net


def test_64_features_and_6_blocks_have_about_half_a_million_parameters():
    count = sum(p.numel() for p in RefineNet(spatial_dims=2, hidden_dim=64, num_blocks=6).parameters())
    assert 0.40e6 <= count <= 0.55e6


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_untrained_it_is_the_clamped_base_bit_for_bit(spatial_dims, in_channels):
    features = torch.randn(2, in_channels, *(9,) * spatial_dims)
    base = torch.randn(2, 1, *(9,) * spatial_dims)
    assert torch.equal(small_refine_net(spatial_dims, in_channels)(features, base), base.clamp(-1, 1))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_output_has_the_shape_of_base_and_stays_in_range(spatial_dims):
    base = torch.rand(2, 1, *(9,) * spatial_dims) * 2 - 1
    refined = small_refine_net(spatial_dims, trained=True)(base, base)
    assert refined.shape == base.shape
    assert refined.abs().max() == 1


def test_zero_initialised_last_conv_still_learns():
    refine_net, base = small_refine_net(), torch.rand(1, 1, 9, 9) * 0.5
    (refine_net(base, base) - 0.7).square().mean().backward()
    assert refine_net.conv_out.weight.grad.abs().sum() > 0


def test_a_voxel_does_not_depend_on_the_rest_of_the_image():
    # What a normalisation layer would break: a patch and the slice it was cut from must agree.
    refine_net = small_refine_net(trained=True)
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.01
    far_away = image.clone()
    far_away[..., 40:, 40:] = -1
    reach = 2 + 2 * 2  # 3x3 convolutions: in, out and two a block
    torch.testing.assert_close(
        refine_net(image, image)[..., : 40 - reach, : 40 - reach],
        refine_net(far_away, far_away)[..., : 40 - reach, : 40 - reach],
    )


def test_it_can_be_scripted():
    refine_net, features, base = (
        small_refine_net(in_channels=3, trained=True),
        torch.rand(1, 3, 9, 9),
        torch.rand(1, 1, 9, 9),
    )
    torch.testing.assert_close(torch.jit.script(refine_net)(features, base), refine_net(features, base))
