"""R1: how steep D is at real pairs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncct_cta.losses.gradient_penalty import r1_penalty
from ncct_cta.networks import Judgement, MultiScaleDiscriminator


class Linear(nn.Module):
    """A D of two scales whose every voxel is a patch: it scores the contrast times its slope."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def pair(self, condition: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return torch.cat((condition, 7 * (image - condition)), dim=1)

    def judge(self, pair: torch.Tensor) -> Judgement:
        return Judgement([self.slope * pair[:, 1:], 2 * self.slope * pair[:, 1:]], [])


def images(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator) - 0.5, torch.rand(shape, generator=generator) - 0.5


@pytest.mark.parametrize("size", [8, 32])
def test_it_is_half_a_patchs_squared_slope_whatever_the_size(size: int) -> None:
    penalty = r1_penalty(Linear(0.5), *images(3, 1, size, size))
    assert float(penalty.detach()) == pytest.approx((0.5 + 2 * 0.5) ** 2 / 2, rel=1e-5)


def test_it_flattens_d_and_touches_nothing_else() -> None:
    d = Linear(0.5)
    condition, cta = (image.requires_grad_() for image in images(2, 1, 8, 8))
    r1_penalty(d, condition, cta).backward()
    assert float(d.slope.grad) == pytest.approx(9 * 0.5, rel=1e-5)
    assert condition.grad is None
    assert cta.grad is None


def test_it_is_in_float32_under_mixed_precision() -> None:
    seen = []
    d = MultiScaleDiscriminator(hidden_dim=4, num_scales=2).eval()
    for scale in d.scales:
        scale.to_logits.register_forward_hook(lambda layer, inputs, logits: seen.append(logits.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        r1_penalty(d, *images(2, 1, 16, 16))
    assert seen == [torch.float32] * 2
