import pytest
import torch
from monai.losses import BendingEnergyLoss, DiffusionLoss
from torch import nn

from ncct_cta.networks import RegistrationNet, SmoothnessLoss, warp
from ncct_cta.networks.registration import pad_to_multiple


def image(*size, seed=0, batch=1, channels=1):
    return torch.rand(batch, channels, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def awake(net):
    """R with a last layer as after some training."""
    nn.init.normal_(net.net.get_submodule("net.1.final_conv_out.conv").weight)
    return net


def blob(centre):
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    distance = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2
    return (2 * torch.exp(-distance / 50) - 1)[None, None]


def test_it_is_light():
    assert 0.05e6 <= sum(p.numel() for p in RegistrationNet(spatial_dims=2).parameters()) <= 0.09e6


@pytest.mark.parametrize("size", [(16, 16), (37, 50), (16, 16, 16), (9, 20, 17)])
def test_displacement_has_a_component_per_axis_on_any_grid(size):
    displacement = awake(RegistrationNet(len(size)))(image(*size, batch=2), image(*size, batch=2, seed=1))
    assert displacement.shape == (2, len(size), *size)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_untrained_it_moves_nothing(spatial_dims):
    size = (16,) * spatial_dims
    assert not RegistrationNet(spatial_dims)(image(*size), image(*size, seed=1)).any()


def test_displacement_is_bounded():
    torch.manual_seed(0)
    net = awake(RegistrationNet(max_displacement=2.0))
    displacement = net(100 * image(16, 16), 100 * image(16, 16, seed=1))
    assert 1.9 < displacement.abs().max() <= 2.0


def test_bound_must_be_positive():
    with pytest.raises(ValueError, match="max_displacement is 0"):
        RegistrationNet(max_displacement=0)


@pytest.mark.parametrize("size", [(512, 512), (33, 100), (20, 33, 17)])
def test_field_of_zeros_returns_the_image_bit_for_bit(size):
    assert torch.equal(warp(image(*size), torch.zeros(1, len(size), *size)), image(*size))


def test_warp_takes_the_value_found_at_the_displaced_position():
    # Not a square, and another shift per axis: swapped axes or a wrong sign show.
    moving = image(8, 12)
    displacement = torch.zeros(1, 2, 8, 12)
    displacement[:, 0], displacement[:, 1] = 2, -1
    warped = warp(moving, displacement)
    torch.testing.assert_close(warped[..., :6, 1:], moving[..., 2:, :-1])


def test_warp_interpolates_linearly_between_voxels():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    displacement = torch.zeros(1, 2, 8, 8)
    displacement[:, 1] = 0.25
    torch.testing.assert_close(warp(ramp, displacement)[..., :-1], ramp[..., :-1] + 0.25)


def test_warp_repeats_the_edge():
    moving = image(8, 8)
    far = torch.zeros(1, 2, 8, 8)
    far[:, 0] = 100
    torch.testing.assert_close(warp(moving, far), moving[..., -1:, :].expand_as(moving))


def test_warp_moves_all_channels_alike():
    pair, displacement = image(8, 8, channels=2), image(8, 8, channels=2, seed=1)
    separate = [warp(pair[:, index : index + 1], displacement) for index in range(2)]
    assert torch.equal(warp(pair, displacement), torch.cat(separate, dim=1))


def test_warp_sends_gradients_to_image_and_displacement():
    moving, displacement = image(8, 8).requires_grad_(), (image(8, 8, channels=2) * 0.4).requires_grad_()
    warp(moving, displacement).square().sum().backward()
    assert moving.grad.abs().sum() > 0
    assert displacement.grad.abs().sum() > 0


def test_registration_is_precise_under_autocast():
    net = RegistrationNet()
    with torch.autocast("cpu", torch.bfloat16):
        displacement = net(image(64, 64), image(64, 64, seed=1))
        warped = warp(image(64, 64), displacement)
    assert displacement.dtype == torch.float32
    assert torch.equal(warped, image(64, 64))


def test_it_learns_to_align():
    torch.manual_seed(0)
    net, smoothness = RegistrationNet(), SmoothnessLoss()
    prediction, cta = blob((16, 14)), blob((16, 18))
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        displacement = net(prediction, cta)
        error = (warp(prediction, displacement) - cta).abs().mean()
        optimiser.zero_grad()
        (error + 0.01 * smoothness(displacement)).backward()
        optimiser.step()
    assert error < 0.5 * (prediction - cta).abs().mean()


@pytest.mark.parametrize(("penalty", "monai_loss"), [("diffusion", DiffusionLoss()), ("bending", BendingEnergyLoss())])
@pytest.mark.parametrize("size", [(8, 9), (5, 6, 7)])
def test_smoothness_is_monais(penalty, monai_loss, size):
    displacement = image(*size, channels=len(size))
    torch.testing.assert_close(SmoothnessLoss(penalty)(displacement), monai_loss(displacement))


@pytest.mark.parametrize(("penalty", "expected"), [("diffusion", 0.25), ("bending", 0.0)])
def test_what_a_stretch_by_a_half_costs(penalty, expected):
    rows = 0.5 * torch.arange(8.0).view(1, 1, 8, 1).expand(1, 2, 8, 8)
    assert SmoothnessLoss(penalty)(rows).item() == pytest.approx(expected)


def test_unknown_penalty_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"'l2', expected one of 'diffusion', 'bending'"):
        SmoothnessLoss("l2")


def test_padding_repeats_the_last_voxels_of_each_axis():
    padded = pad_to_multiple(image(3, 4), 4)
    assert padded.shape == (1, 1, 4, 4)
    assert torch.equal(padded[..., :3, :], image(3, 4))
    assert torch.equal(padded[..., 3, :], image(3, 4)[..., 2, :])


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_attention_starts_without_effect_and_learns_from_the_first_step(spatial_dims):
    pair = image(*[32] * spatial_dims), image(*[32] * spatial_dims, seed=1)
    torch.manual_seed(0)
    plain = awake(RegistrationNet(spatial_dims))
    attending = RegistrationNet(spatial_dims, attention=True)
    weights = {name.replace("submodule.0.1.0.", "submodule.0.1."): name for name in attending.state_dict()}
    shared = {weights[name]: value for name, value in plain.state_dict().items()}
    added = set(attending.state_dict()) - set(shared)
    assert added
    assert all(".submodule.0.1.1." in name for name in added)
    attending.load_state_dict(shared, strict=False)
    assert torch.equal(attending(*pair), plain(*pair))
    attending(*pair).square().sum().backward()
    assert any(
        value.grad is not None and value.grad.any() for name, value in attending.named_parameters() if name in added
    )


def test_attention_lets_a_far_corner_count():
    """The plain R sees 60 voxels around each, of 256."""
    shapes = []
    for attention in (False, True):
        torch.manual_seed(0)
        net = awake(RegistrationNet(attention=attention))
        for name, parameter in net.named_parameters():
            if "out_proj" in name:
                nn.init.normal_(parameter)
        pair = image(256, 256), image(256, 256, seed=1)
        changed = pair[0].clone()
        changed[..., -16:, -16:] = 1
        shapes.append(bool((net(*pair) - net(changed, pair[1]))[..., :16, :16].any()))
    assert shapes == [False, True]
