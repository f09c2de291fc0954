"""The networks from the settings: each section goes in whole; what is disabled is None."""

from __future__ import annotations

import torch

from ..common.hu import HUWindow
from ..settings import DataConfig, DiscriminatorConfig, ModelConfig, RefineConfig, RegistrationConfig
from .cascade import FUSION_CHANNELS, SynthesisCascade, Synthesizer
from .discriminator import MultiScaleDiscriminator
from .generator import Generator
from .refine_net import RefineNet
from .registration import RegistrationNet


def build_generator(model: ModelConfig) -> Generator:
    """G."""
    return Generator(
        architecture=model.architecture,
        spatial_dims=model.spatial_dims,
        channels=model.channels,
        num_res_units=model.num_res_units,
        norm=model.norm,
        residual_output=model.residual_output,
        arguments=model.arguments,
        in_slices=model.in_slices,
        head=model.head,
    )


def build_refine_net(model: ModelConfig, refine: RefineConfig) -> RefineNet | None:
    """G2."""
    if not refine.enabled:
        return None
    return RefineNet(
        spatial_dims=model.spatial_dims,
        in_channels=FUSION_CHANNELS[refine.fusion],
        hidden_dim=refine.hidden_dim,
        num_blocks=refine.num_blocks,
    )


def build_cascade(
    generator: Generator, refine_net: RefineNet | None, refine: RefineConfig, device: torch.device
) -> SynthesisCascade:
    """NCCT -> coarse, intermediate, refined, on its device."""
    return SynthesisCascade(generator, refine_net, refine.fusion, refine.freeze_G, refine.base).to(device)


def build_synthesizer(generator: Generator, refine_net: RefineNet | None, refine: RefineConfig) -> Synthesizer:
    """NCCT -> synthetic CTA, with the weights of the same nets."""
    return Synthesizer(generator, refine_net, refine.fusion, refine.freeze_G, refine.base)


def build_registration_net(
    model: ModelConfig, registration: RegistrationConfig, device: torch.device
) -> RegistrationNet | None:
    """R, on its device."""
    if not registration.enabled:
        return None
    return RegistrationNet(model.spatial_dims, registration.max_displacement, registration.attention).to(device)


def build_discriminator(
    data: DataConfig, model: ModelConfig, discriminator: DiscriminatorConfig, device: torch.device
) -> MultiScaleDiscriminator | None:
    """D, on its device, with a gain that fits the HU window."""
    if not discriminator.enabled:
        return None
    return MultiScaleDiscriminator(
        spatial_dims=model.spatial_dims,
        hidden_dim=discriminator.hidden_dim,
        num_layers=discriminator.num_layers,
        num_scales=discriminator.num_scales,
        contrast_gain=HUWindow(*data.window).contrast_gain,
        normed=discriminator.spectral_norm,
    ).to(device)
