"""SSIM is MONAI's, with a gradient and without."""

from __future__ import annotations

import pytest
import torch
from monai.losses import SSIMLoss as MonaiSSIMLoss

from ncct_cta.losses.ssim import SSIMLoss


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    prediction = 2 * torch.rand(shape, generator=generator) - 1
    return prediction, (prediction + 0.3 * torch.rand(shape, generator=generator)).clamp(-1, 1)


@pytest.mark.parametrize("shape", [(3, 1, 40, 29), (2, 1, 11, 11), (1, 1, 24, 20, 16)])
@pytest.mark.parametrize("data_range", [2.0, 1.0])
def test_without_a_gradient_it_is_monais(shape, data_range):
    prediction, cta = pair(*shape)
    before = prediction.clone(), cta.clone()
    with torch.no_grad():
        found = SSIMLoss(len(shape) - 2, data_range)(prediction, cta)
    expected = MonaiSSIMLoss(len(shape) - 2, data_range=data_range)(prediction, cta)
    assert found == pytest.approx(expected.item(), abs=2e-6)
    assert torch.equal(prediction, before[0])
    assert torch.equal(cta, before[1])


def test_of_equal_images_it_is_nothing():
    image, _ = pair(1, 1, 30, 30)
    with torch.inference_mode():
        assert SSIMLoss(2, 2.0)(image, image) == pytest.approx(0, abs=1e-6)


def test_with_a_gradient_it_is_monais_to_the_bit():
    prediction, cta = pair(2, 1, 32, 32)
    gradients = []
    for loss in (SSIMLoss(2, 2.0), MonaiSSIMLoss(2, data_range=2.0)):
        image = prediction.clone().requires_grad_()
        loss(image, cta).backward()
        gradients.append(image.grad)
    assert torch.equal(*gradients)
