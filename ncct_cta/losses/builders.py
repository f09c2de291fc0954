"""The losses from the settings: each section goes in whole."""

from __future__ import annotations

from torch import nn

from ..common.errors import one_line_errors
from ..common.hu import HUWindow
from ..common.keys import PERCEPTUAL
from ..settings import DataConfig, LossConfig, ModelConfig, RegistrationConfig
from .aligned import AlignedReconstruction
from .gate import GateLoss
from .perceptual import PerceptualLoss, read_features
from .reconstruction import ReconstructionLoss


@one_line_errors()
def build_reconstruction(data: DataConfig, model: ModelConfig, loss: LossConfig) -> ReconstructionLoss:
    """What training and validation minimise; see ``ReconstructionLoss``."""
    further: dict[str, tuple[float, nn.Module]] = {}
    features = loss.perceptual_features
    if loss.perceptual_weight > 0:
        encoder = read_features(features, model.spatial_dims, data.window)
        further[PERCEPTUAL] = loss.perceptual_weight, PerceptualLoss(encoder)
    return ReconstructionLoss(
        spatial_dims=model.spatial_dims,
        l1_weight=loss.l1_weight,
        ssim_weight=loss.ssim_weight,
        lung_weight=loss.lung_weight,
        scales=loss.scales,
        further=further,
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
