"""The loss of a gated head: it opens the gate where the CTA is brighter than the NCCT."""

from __future__ import annotations

import math

import pytest
import torch

from ncct_cta.common.keys import GATE, LOSS
from ncct_cta.losses.aligned import AlignedReconstruction
from ncct_cta.losses.gate import GateLoss
from ncct_cta.losses.reconstruction import ReconstructionLoss
from ncct_cta.networks import RegistrationNet


def pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An NCCT, its CTA with 0.3 more in a square, and 1 there; the second of the batch has no square."""
    ncct = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    vessel = torch.zeros_like(ncct)
    vessel[0, :, 4:8, 4:8] = 1
    return ncct, ncct + 0.3 * vessel, vessel


def test_it_is_binary_cross_entropy_and_dice_over_the_batch() -> None:
    ncct, cta, vessel = pair()
    logits = torch.randn(ncct.shape, generator=torch.Generator().manual_seed(1))
    p = logits.double().sigmoid()
    bce = -(vessel * p.log() + (1 - vessel) * (1 - p).log()).mean()
    dice = 2 * (p * vessel).sum() / (p.sum() + vessel.sum())
    assert float(GateLoss(0.2)(logits, ncct, cta)) == pytest.approx(float(bce + 1 - dice), abs=1e-5)


def test_what_enhances_less_is_no_vessel() -> None:
    ncct, cta, vessel = pair()
    sure = 20 * (2 * vessel - 1)
    assert float(GateLoss(0.2)(sure, ncct, cta)) < 1e-3
    assert float(GateLoss(0.4)(sure, ncct, cta)) > 0.9


def test_what_is_ignored_does_not_count() -> None:
    ncct, cta, vessel = pair()
    wrong = 20 * (1 - 2 * vessel)
    assert float(GateLoss(0.2)(wrong, ncct, cta)) > 10
    assert float(GateLoss(0.2)(wrong, ncct, cta, torch.ones_like(ncct))) < 1e-3


def test_an_objective_adds_it_by_its_weight_and_logs_it_plain() -> None:
    ncct, cta, vessel = pair()
    logits = torch.zeros_like(ncct).requires_grad_()
    objective = AlignedReconstruction(ReconstructionLoss(), gate=GateLoss(0.2), gate_weight=0.5)
    without, _ = objective(ncct, ncct, cta, vessel)
    terms, _ = objective(ncct, ncct, cta, vessel, gate=logits)
    assert GATE not in without
    assert float(terms[GATE]) == pytest.approx(float(GateLoss(0.2)(logits.detach(), ncct, cta)))
    assert float(terms[LOSS].detach()) == pytest.approx(float(without[LOSS].detach()) + 0.5 * float(terms[GATE]))
    terms[LOSS].backward()
    assert logits.grad is not None
    assert (logits.grad < 0)[vessel > 0].all()  # a step down opens it there


def test_r_moves_gate_and_ncct_alike() -> None:
    registration = RegistrationNet(2)
    last = registration.net.get_submodule("net.1.final_conv_out.conv").bias
    torch.nn.init.constant_(last, 10 * math.atanh(0.2))  # moves everything by two voxels
    ncct, vessel = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    ncct[..., 5:11, 5:11] = torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) - 0.5
    vessel[..., 6:10, 6:10] = 1
    sure = 20 * (2 * vessel - 1)
    cta = torch.roll(ncct + 0.3 * vessel, (-2, -2), (2, 3))
    loss = GateLoss(0.2)
    objective = AlignedReconstruction(ReconstructionLoss(ssim_weight=0), registration, gate=loss, gate_weight=1)
    terms, _ = objective(ncct, ncct, cta, vessel, gate=sure, align=False)
    assert float(loss(sure, ncct, cta)) > 1
    assert float(terms[GATE]) < 0.01
