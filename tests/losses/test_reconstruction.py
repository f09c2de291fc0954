from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from ncct_cta.losses.aligned import AlignedReconstruction
from ncct_cta.losses.reconstruction import ReconstructionLoss
from ncct_cta.networks import RegistrationNet

SSIM_RADIUS = 5  # of the 11-voxel window: MONAI takes whole windows only, scikit-image also those over the border


def images(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A prediction and a CTA in [-1, 1] that resemble each other, and a mask."""
    generator = torch.Generator().manual_seed(seed)
    cta = torch.rand(shape, generator=generator) * 2 - 1
    prediction = (cta + 0.3 * torch.randn(shape, generator=generator)).clamp(-1, 1)
    return prediction, cta, (torch.rand(shape, generator=generator) < 0.4).float()


@pytest.mark.parametrize("lung_weight", [0.0, 1.0, 2.0, 5.0])
def test_l1_is_numpys_weighted_average(lung_weight: float) -> None:
    prediction, cta, lung = images(3, 1, 16, 20)
    weights = np.where(lung.numpy() > 0, lung_weight, 1.0)
    expected = np.average(np.abs(prediction.numpy() - cta.numpy()), weights=weights)
    terms = ReconstructionLoss(l1_weight=0.7, ssim_weight=0, lung_weight=lung_weight)(prediction, cta, lung)
    assert terms["l1"].item() == pytest.approx(expected, rel=1e-5)
    assert terms["loss"].item() == pytest.approx(0.7 * expected, rel=1e-5)
    assert "ssim" not in terms


@pytest.mark.parametrize(("dims", "shape"), [(2, (24, 20)), (3, (18, 16, 14))])
def test_ssim_is_scikit_images(dims: int, shape: tuple[int, ...]) -> None:
    prediction, cta, lung = images(2, 1, *shape)
    inner = (slice(SSIM_RADIUS, -SSIM_RADIUS),) * dims
    expected = np.mean(
        [
            structural_similarity(
                a.numpy().astype(np.float64),
                b.numpy().astype(np.float64),
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=2.0,
                full=True,
            )[1][inner].mean()
            for a, b in zip(prediction[:, 0], cta[:, 0], strict=True)
        ]
    )
    terms = ReconstructionLoss(dims, l1_weight=0, ssim_weight=0.2)(prediction, cta, lung)
    assert 0.2 < expected < 0.95  # else the comparison says nothing
    assert terms["ssim"].item() == pytest.approx(expected, abs=1e-5)
    assert terms["loss"].item() == pytest.approx(0.2 * (1 - expected), abs=1e-5)


def test_a_perfect_prediction_costs_nothing() -> None:
    _, cta, lung = images(1, 1, 16, 16)
    terms = ReconstructionLoss()(cta, cta, lung)
    assert terms["loss"].item() == pytest.approx(0, abs=1e-6)
    assert terms["ssim"].item() == pytest.approx(1, abs=1e-6)


def test_an_error_in_the_lung_costs_more_than_the_same_outside() -> None:
    cta, lung = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    lung[..., :8] = 1
    inside, outside = cta.clone(), cta.clone()
    inside[..., 4], outside[..., 12] = 0.5, 0.5
    loss = ReconstructionLoss(ssim_weight=0, lung_weight=3)
    assert loss(inside, cta, lung)["loss"].item() == pytest.approx(3 * loss(outside, cta, lung)["loss"].item())


def test_half_precision_is_computed_in_float32() -> None:
    prediction, cta, lung = images(1, 1, 16, 16)
    half = prediction.bfloat16()
    terms = ReconstructionLoss()(half, cta.bfloat16(), lung.bfloat16())
    expected = ReconstructionLoss()(half.float(), cta.bfloat16().float(), lung)
    assert terms["loss"].dtype == torch.float32
    assert terms["loss"].item() == expected["loss"].item()
    assert terms["ssim"].item() == expected["ssim"].item()


def test_only_the_loss_carries_the_gradient() -> None:
    prediction, cta, lung = images(1, 1, 16, 16)
    terms = ReconstructionLoss()(prediction.requires_grad_(), cta, lung)
    assert terms["loss"].requires_grad
    assert not terms["l1"].requires_grad
    assert not terms["ssim"].requires_grad
    terms["loss"].backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()


def test_a_patch_of_lung_alone_without_lung_weight_is_no_nan() -> None:
    image = torch.zeros(1, 1, 16, 16)
    terms = ReconstructionLoss(lung_weight=0.0)(image, image, torch.ones_like(image))
    assert float(terms["loss"]) == pytest.approx(0.0, abs=1e-6)


def test_what_d_sees_teaches_the_generator_and_not_r() -> None:
    prediction, cta, lung = images(1, 1, 32, 32)
    registration = RegistrationNet(2)
    objective = AlignedReconstruction(ReconstructionLoss(), registration)
    terms, aligned = objective(cta, prediction.requires_grad_(), cta, lung)
    aligned.prediction.sum().backward(retain_graph=True)
    assert prediction.grad is not None
    assert all(parameter.grad is None for parameter in registration.parameters())
    terms["loss"].backward()
    assert any(parameter.grad is not None for parameter in registration.parameters())


def pooled(image: torch.Tensor, times: int) -> torch.Tensor:
    """Average-pool by blocks, independently of PyTorch's pooling."""
    for _ in range(times):
        batch, channels, width, height = image.shape
        image = image.reshape(batch, channels, width // 2, 2, height // 2, 2).mean((3, 5))
    return image


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_several_scales_are_the_mean_of_the_loss_on_pooled_images_and_weights(scales: int) -> None:
    prediction, cta, lung = images(2, 1, 48, 64)
    expected = 0.0
    for times in range(scales):
        small, small_cta, small_lung = (pooled(image, times) for image in (prediction, cta, lung))
        # The weight is linear in the mask: pooling the one pools the other.
        expected += ReconstructionLoss()(small, small_cta, small_lung)["loss"].item() / scales
    terms = ReconstructionLoss(scales=scales)(prediction, cta, lung)
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-5)
    plain = ReconstructionLoss()(prediction, cta, lung)
    assert torch.equal(terms["l1"], plain["l1"])  # logged at the images' own resolution, to compare runs
    assert torch.equal(terms["ssim"], plain["ssim"])


def test_a_checkerboard_that_vanishes_when_pooled_costs_less_with_more_scales() -> None:
    cta = torch.zeros(1, 1, 48, 48)
    checkerboard = ((torch.arange(48)[:, None] + torch.arange(48)) % 2 * 0.2 - 0.1)[None, None]
    blob = torch.zeros_like(cta)
    blob[..., 8:40, 8:40] = 0.1
    ratios = []
    for scales in (1, 3):
        loss = ReconstructionLoss(ssim_weight=0, scales=scales)
        lung = torch.zeros_like(cta)
        ratios.append((loss(checkerboard, cta, lung)["loss"] / loss(blob, cta, lung)["loss"]).item())
    assert ratios[1] == pytest.approx(ratios[0] / 3, rel=1e-4)


def test_further_terms_are_weighed_added_and_named() -> None:
    prediction, cta, lung = images(2, 1, 16, 16)
    plain = ReconstructionLoss()(prediction, cta, lung)
    terms = ReconstructionLoss(further={"mse": (0.5, torch.nn.MSELoss())})(prediction, cta, lung)
    assert terms["mse"].item() == pytest.approx((prediction - cta).square().mean().item())
    assert terms["loss"].item() == pytest.approx(plain["loss"].item() + 0.5 * terms["mse"].item())
    assert not terms["mse"].requires_grad


def test_an_enhanced_voxel_weighs_1_plus_w_times_as_much() -> None:
    prediction, cta, lung = images(2, 1, 16, 16)
    ncct = (cta - 0.2 * images(2, 1, 16, 16, seed=1)[2]).numpy()  # 0.2 below the CTA in some voxels, elsewhere the same
    enhanced = cta.numpy() - ncct > 0.1
    weights = np.where(lung.numpy() > 0, 2.0, 1.0) * np.where(enhanced, 5.0, 1.0)
    expected = np.average(np.abs(prediction.numpy() - cta.numpy()), weights=weights)
    loss = ReconstructionLoss(ssim_weight=0, enhancement_weight=4, enhancement=0.1)
    assert 0.2 < enhanced.mean() < 0.6
    terms = loss(prediction, cta, lung, torch.from_numpy(ncct))
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_with_body_only_what_lies_outside_costs_nothing_and_inside_nothing_changes() -> None:
    prediction, cta, lung = images(2, 1, 24, 24)
    body = torch.zeros_like(cta)
    body[..., 4:20, 6:22] = 1
    loss = ReconstructionLoss(body_only=True)
    terms = loss(prediction, cta, lung, body=body)
    elsewhere = torch.where(body > 0, prediction, -prediction)
    assert loss(elsewhere, cta, lung, body=body)["loss"].item() == terms["loss"].item()
    inside = body > 0
    plain = np.average((prediction - cta).abs()[inside].numpy(), weights=1 + lung[inside].numpy())
    assert terms["l1"].item() == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize(("epoch", "weight"), [(1, 1.0), (2, 2.0), (4, 4.0), (5, 5.0), (9, 5.0)])
def test_a_lung_voxels_weight_rises_in_a_line_and_validations_is_the_final_one(epoch: int, weight: float) -> None:
    prediction, cta, lung = images(2, 1, 16, 16)
    final = ReconstructionLoss(ssim_weight=0, lung_weight=5.0)
    objective = AlignedReconstruction(final, lung_weight_epochs=4)
    objective.epoch = epoch
    expected = ReconstructionLoss(ssim_weight=0, lung_weight=weight)(prediction, cta, lung)["loss"]
    assert objective(cta, prediction, cta, lung)[0]["loss"] == pytest.approx(float(expected), rel=1e-5)
    alone = AlignedReconstruction(ReconstructionLoss(ssim_weight=0, lung_weight=5.0))(cta, prediction, cta, lung)
    assert final(prediction, cta, lung)["loss"] == alone[0]["loss"]


@pytest.mark.parametrize(("epoch", "joined"), [(1, False), (2, False), (3, True)])
def test_r_joins_at_its_epoch(epoch: int, joined: bool) -> None:
    prediction, cta, lung = images(1, 1, 32, 32)
    objective = AlignedReconstruction(ReconstructionLoss(), RegistrationNet(), registration_start=3)
    objective.epoch = epoch
    terms, _ = objective(cta, prediction, cta, lung)
    if joined:
        terms["loss"].backward()
    assert ("smoothness" in terms) is joined
    touched = [parameter.grad is not None for parameter in objective.registration_net.parameters()]
    assert any(touched) is joined


@pytest.mark.parametrize("registration", [None, RegistrationNet(2)])
def test_ignored_voxels_cost_nothing_and_weigh_nothing(registration: RegistrationNet | None) -> None:
    prediction, cta, lung = images(1, 1, 32, 32)
    ignore = torch.zeros_like(cta)
    ignore[..., 8:24, 8:24] = 1
    wrong = torch.where(ignore > 0, prediction, cta).requires_grad_()
    objective = AlignedReconstruction(ReconstructionLoss(scales=2), registration)
    terms, aligned = objective(cta, wrong, cta, lung, None, ignore)
    terms["loss"].backward()
    assert terms["loss"].item() == pytest.approx(0, abs=1e-6)
    assert wrong.grad is not None
    assert wrong.grad[ignore > 0].abs().max() < 1e-12
    assert aligned is not None
    assert torch.equal(aligned.prediction, cta)


def test_the_mean_is_taken_over_what_counts() -> None:
    prediction, cta, lung = images(1, 1, 16, 16)
    ignore = torch.zeros_like(cta)
    ignore[..., :8] = 1
    loss = ReconstructionLoss(ssim_weight=0)
    half = loss(prediction[..., 8:], cta[..., 8:], lung[..., 8:])
    assert loss(prediction, cta, lung, ignore=ignore)["loss"].item() == pytest.approx(half["loss"].item(), rel=1e-5)
