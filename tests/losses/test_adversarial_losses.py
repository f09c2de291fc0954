import pytest
import torch
from monai.losses import PatchAdversarialLoss

from ncct_cta.losses.adversarial import AdversarialLoss, FeatureMatchingLoss, mean_score


def constant_logits(value, requires_grad=False):
    """What D says at three scales, when it says the same everywhere."""
    return [torch.full((2, 1, size, size), value, requires_grad=requires_grad) for size in (8, 5, 3)]


def random_logits(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 1, size, size, generator=generator) for size in (8, 5, 3)]


def random_features(seed, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(2, channels, size, size, generator=generator).requires_grad_(requires_grad) for channels in (4, 8)]
        for size in (8, 5, 3)
    ]


@pytest.mark.parametrize(("score", "d_loss", "gan_g"), [(0.5, 0.75, 0.75), (0.75, 0.9375, 0.1875)])
def test_least_squares_at_the_fixed_points_of_a_blind_and_a_leaking_discriminator(score, d_loss, gan_g):
    loss, logits = AdversarialLoss(), constant_logits(score)
    assert loss.discriminator_loss(logits, logits).item() == pytest.approx(d_loss)
    assert loss.generator_loss(logits).item() == pytest.approx(gan_g)


def test_least_squares_is_zero_for_a_perfect_discriminator():
    assert AdversarialLoss().discriminator_loss(constant_logits(1.0), constant_logits(0.0)) == 0


def test_least_squares_averages_patches_and_sums_scales():
    real, fake = [torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[2.0]]])], [torch.zeros(1, 1, 2), torch.zeros(1, 1, 1)]
    assert AdversarialLoss().discriminator_loss(real, fake).item() == pytest.approx((2 + 1) / 2)


def test_least_squares_agrees_with_monai_without_its_activation():
    real, fake, scales = random_logits(0), random_logits(1), 3
    monai_loss = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
    of_real = monai_loss(real, target_is_real=True, for_discriminator=True)
    of_fake = monai_loss(fake, target_is_real=False, for_discriminator=True)
    torch.testing.assert_close(AdversarialLoss().discriminator_loss(real, fake), scales * (of_real + of_fake) / 2)
    of_generator = monai_loss(fake, target_is_real=True, for_discriminator=False)
    torch.testing.assert_close(AdversarialLoss().generator_loss(fake), scales * of_generator)


@pytest.mark.parametrize(("real", "fake", "d_loss"), [(0.0, 0.0, 6.0), (2.0, -3.0, 0.0), (-1.0, 0.5, 10.5)])
def test_hinge_of_the_discriminator(real, fake, d_loss):
    loss = AdversarialLoss("hinge").discriminator_loss(constant_logits(real), constant_logits(fake))
    assert loss.item() == pytest.approx(d_loss)


def test_hinge_of_the_generator_is_the_negative_score():
    assert AdversarialLoss("hinge").generator_loss(constant_logits(1.5)).item() == pytest.approx(-4.5)


@pytest.mark.parametrize("mode", ["least_squares", "hinge"])
def test_generator_loss_pulls_the_score_up_and_discriminator_loss_pulls_it_down(mode):
    loss = AdversarialLoss(mode)
    for_generator, for_discriminator = constant_logits(0.3, True), constant_logits(0.3, True)
    loss.generator_loss(for_generator).backward()
    loss.discriminator_loss(constant_logits(1.0), for_discriminator).backward()
    assert all((scale.grad < 0).all() for scale in for_generator)
    assert all((scale.grad > 0).all() for scale in for_discriminator)


def test_unknown_mode_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"'lsgan', expected one of 'least_squares', 'hinge'"):
        AdversarialLoss("lsgan")


def test_losses_are_computed_in_single_precision():
    halves = [scale.bfloat16() for scale in random_logits(0)]
    assert AdversarialLoss().discriminator_loss(halves, halves).dtype == torch.float32
    assert mean_score(halves).dtype == torch.float32


def test_feature_matching_sums_the_mean_differences_of_all_layers_and_scales():
    real, fake = random_features(0), random_features(1)
    expected = sum(
        (one - other).abs().mean() for pair in zip(real, fake, strict=True) for one, other in zip(*pair, strict=True)
    )
    torch.testing.assert_close(FeatureMatchingLoss()(real, fake), expected)


def test_feature_matching_sends_no_gradient_to_the_real_features():
    real, fake = random_features(0, requires_grad=True), random_features(1, requires_grad=True)
    FeatureMatchingLoss()(real, fake).backward()
    assert all(layer.grad is None for scale in real for layer in scale)
    assert all(layer.grad.abs().sum() > 0 for scale in fake for layer in scale)


def test_feature_matching_refuses_another_number_of_scales():
    with pytest.raises(ValueError, match="zip"):
        FeatureMatchingLoss()(random_features(0), random_features(1)[:2])


def test_mean_score_weighs_scales_alike_and_carries_no_gradient():
    logits = [torch.zeros(1, 1, 8, 8, requires_grad=True), torch.ones(1, 1, 2, 2, requires_grad=True)]
    score = mean_score(logits)
    assert score.item() == pytest.approx(0.5)
    assert not score.requires_grad
