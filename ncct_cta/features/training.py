"""The training of an encoder on masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.utils import manual_seed
from monai.losses import DiceCELoss
from torch import nn
from torch.utils.data import DataLoader

from ..common.files import written_whole
from ..common.hu import BONE_LOWER_HU, HUWindow
from ..common.keys import BODY, CTA, LUNG, NCCT, VESSEL
from ..common.precision import resolve_device
from ..common.progress import progress_bar
from ..data import EpochSampler, PairedCases, PatchDataset
from ..losses.perceptual import write_features
from ..networks.feature_encoder import CHANNELS, FeatureEncoder, MaskHead
from ..settings import Settings
from ..train.builders import build_loader
from ..train.loading_processes import loading_processes
from ..transforms import ScaleHUWindowd, default_preprocessing

MASKS = (LUNG, BODY, VESSEL)  # and bone, which nothing stores
BONE = "bone"
VESSEL_SHARE = 0.5  # of the patches: others hold no vessel in a third
LR = 1e-3
JUDGED = 0.1  # the last steps, whose patches say how well it knows the masks


def make_features(settings: Settings, output: str, *, steps: int) -> dict[str, float]:
    """Train an encoder for a training's settings and write it.

    Args:
        settings: those of the training: its cases, patches, window, seed and device.
        output: the file.
        steps: optimiser steps.

    Returns:
        Dice of each mask over the last tenth of the patches, each before it was learned from.

    Raises:
        InputError: if a case can't be used, or the file not be written.
    """
    data, train = settings.data, settings.train
    device = resolve_device(train.device)
    manual_seed(train.seed)
    encoder = FeatureEncoder(settings.model.spatial_dims).to(device)
    head = MaskHead(settings.model.spatial_dims, CHANNELS, len(MASKS) + 1).to(device)
    found = _trained(encoder, head, _patches(settings, steps, device), HUWindow(*data.window), device)
    with written_whole(Path(output)) as beside:
        write_features(beside, encoder, CHANNELS, data.window)
    return found


def _patches(settings: Settings, steps: int, device: torch.device) -> DataLoader:
    """Patches of the training cases with their masks, not augmented."""
    data, train = settings.data, settings.train
    cases = PairedCases(
        data.datalist,
        preprocessing=default_preprocessing(data).transforms,
        cache_dir=data.cache_dir,
        val_fraction=data.val_fraction,
        seed=train.seed,
    )
    dataset = PatchDataset(
        cases,
        transforms=[ScaleHUWindowd((NCCT, CTA), HUWindow(*data.window))],
        patch_size=data.patch_size,
        seed=train.seed,
        masks=MASKS,
        vessel_share=VESSEL_SHARE,
    )
    dataset.prepare()
    sampler = EpochSampler(dataset, samples=steps * train.batch_size)
    return build_loader(dataset, device, train.batch_size, sampler, loading_processes(data.num_workers, device))


def masks_of(batch: Mapping[str, Any], window: HUWindow) -> torch.Tensor:
    """Lung, body, vessel and bone of a batch, (B, 4, *spatial), 0 or 1; bone is what is bright without contrast."""
    bone = (window.denormalise(batch[NCCT]) > BONE_LOWER_HU) & (batch[BODY] > 0)
    return torch.cat([*(batch[name] > 0 for name in MASKS), bone], dim=1).float()


def _trained(
    encoder: nn.Module, head: nn.Module, patches: DataLoader, window: HUWindow, device: torch.device
) -> dict[str, float]:
    """Train by BCE and Dice; return the Dice of the last patches."""
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=LR)
    loss_of = DiceCELoss(sigmoid=True, batch=True)
    steps = len(patches)
    both = size = torch.zeros(len(MASKS) + 1, device=device)
    with progress_bar(total=steps, desc="features", unit="step") as bar:
        for step, batch in enumerate(patches):
            wanted = masks_of(batch, window).to(device)
            logits = head(encoder(batch[CTA].to(device)))
            if step >= int(steps * (1 - JUDGED)):
                found, axes = (logits.detach() > 0).float(), (0, *range(2, logits.ndim))
                both, size = both + (found * wanted).sum(axes), size + (found + wanted).sum(axes)
            optimizer.zero_grad()
            loss_of(logits, wanted).backward()
            optimizer.step()
            bar.update()
    return {
        name: float(2 * b / s) if s else float("nan") for name, b, s in zip((*MASKS, BONE), both, size, strict=True)
    }
