"""The functions that the bundle's YAML names: each builds one part from plain values."""

from __future__ import annotations

import logging
import math
from typing import Any

import ignite.distributed as idist
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, Sampler

from ..common.errors import one_line_errors
from ..common.precision import check_amp, resolve_device
from ..engines import AdversarialSynthesisTrainer, NetworkUpdate, SynthesisTrainer
from ..losses.adversarial import AdversarialLoss
from ..networks import SynthesisCascade
from ..settings import DiscriminatorConfig, RefineConfig, RegistrationConfig, TrainConfig, section_types
from ..settings.declaration import Section

logger = logging.getLogger(__name__)


@one_line_errors()
def section(section: str, **values: Any) -> Section:
    """Build a section of the settings from the bundle's YAML; see ``py``."""
    return section_types()[section].parse(values)


@one_line_errors()
def device(name: str, amp: str) -> torch.device:
    """The device that a setting names, checked together with the mixed precision."""
    found = resolve_device(name)
    check_amp(amp, found)
    return found


def loader(
    dataset: Dataset, device: torch.device, batch_size: int = 1, sampler: Sampler | None = None, num_workers: int = 0
) -> DataLoader:
    """A PyTorch loader; its workers stay between epochs, its batches are pinned for a GPU."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
    )


def placed(device: torch.device, network: nn.Module | None = None) -> nn.Module | None:
    """Move a network, if there is one."""
    return None if network is None else network.to(device)


def parallel(network: nn.Module | None) -> nn.Module | None:
    """Synchronise a network's gradients when several processes train it."""
    if network is None or idist.get_world_size() == 1:
        return network
    devices = [idist.device()] if idist.device().type == "cuda" else None
    # Buffers stay each process' own: writing them in a forward pass would break the backward of an earlier one.
    return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def generator_optimizer(
    cascade: SynthesisCascade,
    registration_net: nn.Module | None,
    *,
    lr: float,
    refine: RefineConfig,
    registration: RegistrationConfig,
    weight_decay: float = 0.0,
) -> Optimizer:
    """AdamW (Loshchilov & Hutter, ICLR 2019) with one named group for each net that trains with the generator."""
    nets = [
        ("G2", cascade.refine_net, refine.lr),
        ("G", cascade.generator, lr),
        ("R", registration_net, registration.lr),
    ]
    groups = [
        {"name": name, "params": parameters, "lr": net_lr}
        for name, net, net_lr in nets
        if net is not None and (parameters := [p for p in net.parameters() if p.requires_grad])
    ]
    return torch.optim.AdamW(groups, weight_decay=weight_decay)


def discriminator_optimizer(discriminator_net: nn.Module, lr: float) -> Optimizer:
    """Adam with GAN momentum (0.5, 0.999), as pix2pix and its heirs use."""
    group = {"name": "D", "params": list(discriminator_net.parameters())}
    return torch.optim.Adam([group], lr=lr, betas=(0.5, 0.999))


def lr_scheduler(optimizer: Optimizer, kind: str, warmup_steps: int, total_steps: int) -> LambdaLR:
    """Linear warm-up, then cosine to zero (Loshchilov & Hutter, ICLR 2017) or constant; one step an iteration.

    In closed form: a resumed run goes on at its step of the schedule that the settings say now.
    """
    warmup_steps = min(warmup_steps, total_steps // 2)  # a run shorter than the warm-up would never learn

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        if kind == "constant":
            return 1.0
        # Beyond the end, where a run with fewer steps an epoch may be resumed, the cosine would rise again.
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


@one_line_errors()
def warmup_epochs(discriminator: DiscriminatorConfig, skip_warmup: bool | str) -> int:
    """Epochs before D joins; ``skip_warmup`` as YAML or a command line gives it."""
    return 0 if TrainConfig.parse(skip_warmup=skip_warmup).skip_warmup else discriminator.warmup_epochs


def trainer(
    *,
    discriminator: DiscriminatorConfig,
    discriminator_net: nn.Module | None = None,
    discriminator_update: NetworkUpdate | None = None,
    warmup_epochs: int = 0,
    **common: Any,
) -> SynthesisTrainer | AdversarialSynthesisTrainer:
    """The engine: with D or without.

    Args:
        discriminator: D's settings.
        discriminator_net: D, or None.
        discriminator_update: D's step, or None.
        warmup_epochs: epochs before D joins.
        common: what both engines take.
    """
    if discriminator_net is None or discriminator_update is None:
        return SynthesisTrainer(**common)
    return AdversarialSynthesisTrainer(
        discriminator=discriminator_net,
        discriminator_update=discriminator_update,
        adversarial_loss=AdversarialLoss(discriminator.mode),
        gan_weight=discriminator.gan_weight,
        feat_match_weight=discriminator.feat_match_weight,
        discriminator_steps=discriminator.steps,
        warmup_epochs=warmup_epochs,
        **common,
    )
