"""The parts of a training that the bundle's YAML names, each built from sections of the settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import torch
from monai.transforms import Transform
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, Sampler

from ..common.errors import one_line_errors
from ..common.keys import EMA, NETWORK
from ..common.precision import resolve_amp, resolve_device
from ..data import EpochSampler, PairedCases, PatchDataset
from ..engines import AdversarialSynthesisTrainer, Adversary, NetworkUpdate, SynthesisTrainer
from ..losses import AdversarialLoss
from ..networks import SynthesisCascade
from ..settings import (
    DataConfig,
    DiscriminatorConfig,
    RefineConfig,
    RegistrationConfig,
    Section,
    TrainConfig,
    section_types,
)
from .compiling import compile_networks
from .loading_processes import loading_processes


@one_line_errors()
def parse_section(section: str, **values: Any) -> Section:
    """Build a section of the settings from what the bundle's YAML gives below it."""
    return section_types()[section].parse(values)


@one_line_errors()
def build_device(train: TrainConfig) -> torch.device:
    """The device that a setting names."""
    return resolve_device(train.device)


@one_line_errors()
def parse_training(**values: Any) -> TrainConfig:
    """Build the section ``train``, of which ``amp`` is what is computed in: ``auto`` is resolved."""
    train = TrainConfig.parse(values)
    return TrainConfig.parse(values, amp=resolve_amp(train.amp, resolve_device(train.device)))


def build_loader(
    dataset: Dataset, device: torch.device, batch_size: int = 1, sampler: Sampler | None = None, num_workers: int = 0
) -> DataLoader:
    """A PyTorch loader whose workers persist between epochs and whose batches are pinned for a GPU."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
        collate_fn=getattr(dataset, "collate", None),
    )


def build_patch_dataset(
    cases: PairedCases, transforms: Sequence[Transform], sections: Mapping[str, Any]
) -> PatchDataset:
    """The training patches, from sections of the settings; with the masks that the loss needs."""
    data: DataConfig = sections["data"]
    return PatchDataset(
        cases,
        transforms=transforms,
        patch_size=data.patch_size,
        seed=sections["train"].seed,
        masks=sections["loss"].masks,
        vessel_share=data.vessel_share,
        in_slices=sections["model"].in_slices,
        virtual_share=data.virtual_share,
    )


def build_training_loader(
    dataset: PatchDataset, device: torch.device, data: DataConfig, train: TrainConfig
) -> DataLoader:
    """Each process' share of the training patches, an epoch being ``steps_per_epoch`` batches over all processes."""
    processes = idist.get_world_size()
    samples = train.steps_per_epoch * train.batch_size
    sampler = EpochSampler(dataset, samples=samples, num_replicas=processes, rank=idist.get_rank())
    workers = loading_processes(data.num_workers, device)
    return build_loader(dataset, device, train.batch_size // processes, sampler, workers)


@one_line_errors()
def ready_to_train(cascade: SynthesisCascade, train: TrainConfig) -> nn.Module:
    """The cascade, compiled if that is wanted, and synchronised if several processes train it.

    G and G2 alone are compiled. D is frozen and thawed in every step, each time another network to the compiler, and
    its gradients are asked for more than once, which compiled ones don't allow.
    """
    if train.compile:
        # Not what surrounds G's network: the gate's loss watches it by hooks that come and go with each step.
        compile_networks(cascade.generator.get_submodule("net"), cascade.refine_net)
    network = synchronised(cascade)
    assert network is not None
    return network


def synchronised(network: nn.Module | None) -> nn.Module | None:
    """Synchronise a network's gradients when several processes train it."""
    if network is None or idist.get_world_size() == 1:
        return network
    devices = [idist.device()] if idist.device().type == "cuda" else None
    # Each process keeps its own buffers: writing them in a forward pass would break the backward pass of an earlier
    # one.
    return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def build_update(
    cascade: SynthesisCascade,
    registration_net: nn.Module | None,
    *,
    train: TrainConfig,
    refine: RefineConfig,
    registration: RegistrationConfig,
) -> NetworkUpdate:
    """The generator's step: AdamW (Loshchilov & Hutter, ICLR 2019), one named group per net that trains with it.

    Where G2 trains, its schedule counts for all of them; R's begins when R joins.
    """
    nets = [
        ("G2", cascade.refine_net, refine.lr),
        ("G", cascade.generator, train.lr),
        ("R", registration_net, registration.lr),
    ]
    groups = [
        {"name": name, "params": parameters, "lr": net_lr}
        for name, net, net_lr in nets
        if net is not None and (parameters := [p for p in net.parameters() if p.requires_grad])
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=train.weight_decay, fused=_is_fused(cascade))
    leading = refine if refine.enabled else train
    total_steps = train.num_epochs * train.steps_per_epoch
    late = (registration.start_epoch - 1) * train.steps_per_epoch
    starts = [late if group["name"] == "R" else 0 for group in groups]
    schedule = build_schedule(optimizer, leading.lr_scheduler, leading.warmup_steps, total_steps, starts)
    return NetworkUpdate(optimizer, schedule, _scaler(cascade, train.amp), train.grad_clip)


def build_adversary(
    network: nn.Module | None, discriminator: DiscriminatorConfig, train: TrainConfig
) -> Adversary | None:
    """D and what belongs to it; None without D. Adam with GAN momentum (0.5, 0.999), as pix2pix and its heirs use."""
    if network is None:
        return None
    warmup_epochs = discriminator.start_epoch - 1
    if discriminator.start_epoch == 0:
        warmup_epochs = 0 if train.skip_warmup else discriminator.warmup_epochs
    group = {"name": "D", "params": list(network.parameters())}
    optimizer = torch.optim.Adam([group], lr=discriminator.lr, betas=(0.5, 0.999), fused=_is_fused(network))
    steps = (train.num_epochs - warmup_epochs) * train.steps_per_epoch * discriminator.steps
    schedule = build_schedule(optimizer, discriminator.lr_scheduler, discriminator.warmup_steps, steps)
    return Adversary(
        synchronised(network),  # type: ignore[arg-type]
        NetworkUpdate(optimizer, schedule, _scaler(network, train.amp), train.grad_clip),
        AdversarialLoss(discriminator.mode),
        gan_weight=discriminator.gan_weight,
        feat_match_weight=discriminator.feat_match_weight,
        steps=discriminator.steps,
        warmup_epochs=warmup_epochs,
        amp=train.amp,
        r1_weight=discriminator.r1_weight,
        r1_every=discriminator.r1_every,
    )


def _is_fused(network: nn.Module) -> bool | None:
    """One kernel for all weights on a GPU, which can also leave a step out without being asked; else the default."""
    return next(network.parameters()).device.type == "cuda" or None


def _scaler(network: nn.Module, amp: str) -> torch.amp.GradScaler:
    return torch.amp.GradScaler(next(network.parameters()).device.type, enabled=amp == "fp16")


def build_schedule(
    optimizer: Optimizer, kind: str, warmup_steps: int, total_steps: int, starts: Sequence[int] = ()
) -> LambdaLR:
    """Linear warm-up, then cosine to zero (Loshchilov & Hutter, ICLR 2017) or constant; one step per iteration.

    In closed form, so that a resumed run continues at its step of the schedule in the current settings. ``starts``:
    the step that each group of parameters joins at, where its warm-up begins; by default the first.
    """

    def factor_from(start: int) -> Callable[[int], float]:
        total = max(0, total_steps - start)
        warmup = min(warmup_steps, total // 2)  # a run shorter than the warm-up would never learn

        def factor(step: int) -> float:
            since = step - start
            if since < 0:
                return 0.0
            if since < warmup:
                return since / warmup
            if kind == "constant":
                return 1.0
            # Beyond the end, where a run with fewer steps per epoch may be resumed, the cosine would rise again.
            progress = min(1.0, (since - warmup) / max(1, total - warmup))
            return 0.5 * (1 + math.cos(math.pi * progress))

        return factor

    return LambdaLR(optimizer, [factor_from(start) for start in starts or [0] * len(optimizer.param_groups)])


def build_trainer(
    *, adversary: Adversary | None = None, **common: Any
) -> SynthesisTrainer | AdversarialSynthesisTrainer:
    """The engine, with D or without; ``common`` is what both take."""
    if adversary is None:
        return SynthesisTrainer(**common)
    return AdversarialSynthesisTrainer(adversary=adversary, **common)


def state_to_save(
    *,
    cascade: SynthesisCascade,
    averaged: nn.Module,
    update: NetworkUpdate,
    registration_net: nn.Module | None = None,
    discriminator_net: nn.Module | None = None,
    adversary: Adversary | None = None,
) -> dict[str, Any]:
    """What a run needs to go on, by its name in a checkpoint; what there isn't is None."""
    return {
        NETWORK: cascade,
        EMA: averaged,
        **update.parts(),
        "registration": registration_net,
        "discriminator": discriminator_net,
        **(adversary.update.parts("discriminator_") if adversary else {}),
    }
