import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from ncct_cta.common.hu import HUWindow
from ncct_cta.losses.adversarial import AdversarialLoss, mean_score
from ncct_cta.networks import MultiScaleDiscriminator, frozen


def small_discriminator(spatial_dims=2, **kwargs):
    torch.manual_seed(0)
    return MultiScaleDiscriminator(spatial_dims, hidden_dim=4, **kwargs)


def random_image(*size, seed=0):
    return torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def convolutions(module):
    return [child for child in module.modules() if isinstance(child, nn.Conv2d | nn.Conv3d)]


@pytest.mark.parametrize("size", [(32, 32), (16, 16), (33, 50), (16, 16, 16), (32, 20, 17)])
def test_every_scale_gives_finite_logits_and_features(size):
    judgement = small_discriminator(len(size))(random_image(*size), random_image(*size, seed=1))
    assert len(judgement.logits) == len(judgement.features) == 3
    for logits, features in zip(judgement.logits, judgement.features, strict=True):
        assert logits.shape[:2] == (2, 1)
        assert logits.numel() > 0
        assert logits.isfinite().all()
        assert [layer.shape[1] for layer in features] == [4, 8, 16, 32]


def test_each_scale_sees_half_the_grid_of_the_one_before():
    seen = []
    discriminator = small_discriminator()
    for scale in discriminator.scales:
        scale.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    condition, image = random_image(32, 32), random_image(32, 32, seed=1)
    discriminator(condition, image)
    pair = torch.cat((condition, image - condition), dim=1)
    for factor, scale_input in zip((1, 2, 4), seen, strict=True):
        torch.testing.assert_close(scale_input, nn.functional.avg_pool2d(pair, factor))


def test_it_sees_the_difference_to_the_ncct_in_units_of_contrast():
    condition, image = random_image(32, 32), random_image(32, 32, seed=1)
    amplified = small_discriminator(contrast_gain=8.0)(condition, condition + 0.1 * (image - condition))
    plain = small_discriminator(contrast_gain=0.8)(condition, image)
    for one, other in zip(amplified.logits, plain.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_it_learns_to_see_noise_of_a_scan_in_a_wide_window():
    """16 HU in [-1000, 600] are 0.02 of the networks' range: invisible behind spectral norm without the gain."""
    window = HUWindow(-1000, 600)
    torch.manual_seed(0)
    discriminator = MultiScaleDiscriminator(hidden_dim=8, contrast_gain=window.contrast_gain)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    generator = torch.Generator().manual_seed(0)
    gaps = []
    for _ in range(60):
        condition = torch.nn.functional.interpolate(torch.rand(4, 1, 4, 4, generator=generator) - 0.5, (32, 32))
        real = condition + 16 / window.half_width * torch.randn(4, 1, 32, 32, generator=generator)
        real_logits, fake_logits = (discriminator(condition, image).logits for image in (real, condition))
        loss = AdversarialLoss().discriminator_loss(real_logits, fake_logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        gaps.append(float(mean_score(real_logits) - mean_score(fake_logits)))
    assert sum(gaps[-10:]) / 10 > 0.3


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_spectral_norm_is_on_every_convolution(spatial_dims):
    found = convolutions(small_discriminator(spatial_dims))
    assert len(found) == 3 * 5
    assert all(is_parametrized(conv, "weight") for conv in found)


def test_largest_singular_value_of_every_weight_is_one():
    discriminator = small_discriminator()
    for _ in range(50):
        discriminator(random_image(16, 16), random_image(16, 16))
    for conv in convolutions(discriminator.eval()):
        assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_there_is_no_batch_norm():
    assert not any(isinstance(child, nn.modules.batchnorm._NormBase) for child in small_discriminator().modules())


def test_it_judges_the_image_given_the_condition():
    discriminator, image = small_discriminator().eval(), random_image(16, 16)
    first = discriminator(random_image(16, 16, seed=1), image)
    second = discriminator(random_image(16, 16, seed=2), image)
    assert all(not torch.equal(one, other) for one, other in zip(first.logits, second.logits, strict=True))


def test_too_small_an_image_is_refused_with_the_minimum_size():
    with pytest.raises(ValueError, match=r"\(32, 15\) voxels, expected at least 16 a side for 3 scales"):
        small_discriminator()(random_image(32, 15), random_image(32, 15))


def test_fewer_scales_take_smaller_images():
    assert small_discriminator(num_scales=1)(random_image(4, 4), random_image(4, 4)).logits[0].numel() > 0


def test_it_trains_in_mixed_precision():
    discriminator = small_discriminator()
    with torch.autocast("cpu", torch.bfloat16):
        judgement = discriminator(random_image(16, 16), random_image(16, 16, seed=1))
    sum(logits.float().mean() for logits in judgement.logits).backward()
    assert all(parameter.grad.isfinite().all() for parameter in discriminator.parameters())


def test_two_judgements_can_share_one_backward():
    discriminator = small_discriminator()
    real = discriminator(random_image(16, 16), random_image(16, 16, seed=1))
    fake = discriminator(random_image(16, 16), random_image(16, 16, seed=2))
    (real.logits[0].mean() - fake.logits[0].mean()).backward()
    assert all(parameter.grad is not None for parameter in discriminator.scales[0].parameters())


def generator_step(discriminator, image):
    """A generator's backward pass through both of D's outputs."""
    judgement = discriminator(random_image(16, 16), image)
    loss = sum(logits.square().mean() for logits in judgement.logits)
    loss += sum(layer.abs().mean() for scale in judgement.features for layer in scale)
    loss.backward()


def test_a_frozen_discriminator_is_bit_identical_after_a_generator_step():
    discriminator = small_discriminator().train()
    before = copy.deepcopy(discriminator.state_dict())
    assert any(name.endswith("_u") for name in before)  # the spectral norm's vectors are among them
    with frozen(discriminator):
        generator_step(discriminator, random_image(16, 16, seed=1).requires_grad_())
    assert all(torch.equal(before[name], value) for name, value in discriminator.state_dict().items())


@pytest.mark.parametrize("backward_inside", [True, False])
def test_a_frozen_discriminator_gets_no_gradient(backward_inside):
    discriminator, image = small_discriminator(), random_image(16, 16, seed=1).requires_grad_()
    with frozen(discriminator):
        loss = discriminator(random_image(16, 16), image).logits[0].mean()
        if backward_inside:
            loss.backward()
    if not backward_inside:
        loss.backward()
    assert all(parameter.grad is None for parameter in discriminator.parameters())


def test_gradient_flows_through_a_frozen_discriminator_to_the_image():
    discriminator, image = small_discriminator(), random_image(16, 16, seed=1).requires_grad_()
    with frozen(discriminator):
        generator_step(discriminator, image)
    assert image.grad.abs().sum() > 0


def test_frozen_restores_every_part_as_it_was():
    module = nn.Sequential(nn.Linear(2, 2), spectral_norm(nn.Linear(2, 2)), nn.Dropout())
    module[0].requires_grad_(False).eval()
    with frozen(module) as same:
        assert same is module
        assert not any(child.training for child in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
    assert [child.training for child in module] == [False, True, True]
    assert not any(parameter.requires_grad for parameter in module[0].parameters())
    assert all(parameter.requires_grad for parameter in module[1].parameters())
    assert module[1].parametrizations.weight[0].training


def test_frozen_restores_after_an_error():
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError), frozen(module):
        raise RuntimeError
    assert module.training
    assert module.weight.requires_grad


@pytest.mark.parametrize("normed", [True, False])
def test_spectral_norm_can_be_left_out(normed):
    discriminator = small_discriminator(normed=normed)
    assert {is_parametrized(conv, "weight") for conv in convolutions(discriminator)} == {normed}
