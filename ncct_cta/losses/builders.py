"""The losses from the settings: each section goes in whole."""

from __future__ import annotations

from torch import nn

from ..common.hu import HUWindow
from ..settings import DataConfig, LossConfig, ModelConfig, RegistrationConfig
from .aligned import AlignedReconstruction
from .gate import GateLoss
from .reconstruction import ReconstructionLoss


def build_reconstruction(data: DataConfig, model: ModelConfig, loss: LossConfig) -> ReconstructionLoss:
    """What training and validation minimise; see ``ReconstructionLoss``."""
    return ReconstructionLoss(
        spatial_dims=model.spatial_dims,
        l1_weight=loss.l1_weight,
        ssim_weight=loss.ssim_weight,
        lung_weight=loss.lung_weight,
        scales=loss.scales,
        enhancement_weight=loss.enhancement_weight,
        enhancement=HUWindow(*data.window).enhancement,
        body_only=loss.body_only,
    )


def build_objective(
    data: DataConfig,
    loss: LossConfig,
    reconstruction: ReconstructionLoss,
    registration: RegistrationConfig,
    registration_net: nn.Module | None = None,
) -> AlignedReconstruction:
    """The same for pairs that R aligns first, if there is an R; see ``AlignedReconstruction``."""
    return AlignedReconstruction(
        reconstruction,
        registration_net,
        registration.smoothness_weight,
        registration.penalty,
        lung_weight_epochs=loss.lung_weight_epochs,
        registration_start=registration.start_epoch,
        gate=GateLoss(HUWindow(*data.window).enhancement),
        gate_weight=loss.gate_weight,
    )
