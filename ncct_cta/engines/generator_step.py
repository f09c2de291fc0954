"""The generator's part of a training step, which every trainer has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer
from torch import nn

from ..common import keys
from ..common.precision import autocast
from ..losses import Aligned, AlignedReconstruction
from ..networks import Stages, middle_slice, watched_gates
from ..transforms import moved_patches
from .updates import NetworkUpdate


class Reconstruction(NamedTuple):
    """What the generator made of a batch: it on the device, the stages, the loss' terms, the images that D sees."""

    batch: dict[str, Any]
    stages: Stages
    terms: dict[str, torch.Tensor]
    aligned: Aligned | None


class GeneratorStep:
    """Mixed into MONAI's trainers: ``reconstruct`` a batch, then ``descend`` the loss.

    After a step ``engine.state.output`` holds the batch on the device, the cascade's ``stages`` (detached) and the
    ``terms``: scalars by their log names, including each network's gradient norm before clipping. The ``loss`` stands
    beside them too, where MONAI's own handlers look for it.
    """

    state: Any
    prepare_batch: Any
    non_blocking: bool
    objective: AlignedReconstruction
    update: NetworkUpdate
    precision: str
    for_adversary = False  # whether a step has a D, which looks at the aligned images

    def reconstruct(self, batchdata: Any, network: nn.Module, inferer: Inferer) -> Reconstruction:
        """Run the cascade on a batch, and compare its prediction to the CTA."""
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        network.train()
        with watched_gates(network) as gates, autocast(self.state.device, self.precision):
            stages = inferer(batch[keys.NCCT], network)
        batch[keys.NCCT] = middle_slice(batch[keys.NCCT])  # G alone sees its neighbours
        self.objective.epoch = max(1, self.state.epoch)  # a step by hand belongs to the first one
        images = batch[keys.NCCT], stages.refined, batch[keys.CTA]
        masks = batch[keys.LUNG], batch.get(keys.BODY), batch.get(keys.IGNORE)
        gate = gates[0] if gates else None
        terms, aligned = self.objective(*images, *masks, align=self.for_adversary, gate=gate)
        return Reconstruction(batch, stages, terms, aligned)

    def descend(self, made: Reconstruction) -> dict[str, Any]:
        """Take a step down the terms' ``loss``, and return what the step leaves behind."""
        self.state.output = step_output(made.batch, made.stages, made.terms)
        self.fire_event(IterationEvents.LOSS_COMPLETED)  # type: ignore[attr-defined]
        self.state.output[keys.TERMS] |= self.update(made.terms[keys.LOSS])
        return self.state.output


def step_output(batch: Mapping[str, Any], stages: Stages, terms: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Return a step's output; nothing in it keeps the autograd graph alive."""
    detached = Stages(*(image.detach() for image in stages))
    numbers = {name: value.detach() for name, value in terms.items()}
    return {**batch, keys.STAGES: detached, keys.TERMS: numbers, keys.LOSS: numbers[keys.LOSS]}


def to_device(batch: Mapping[str, Any], device: torch.device, non_blocking: bool = False) -> dict[str, Any]:
    """Move a batch's tensors to the device, where patches with a ``movement`` are moved; strings stay as they are."""
    there = {
        key: value.to(device, non_blocking=non_blocking) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }
    if keys.MOVEMENT not in batch:
        return there
    # Read where the loader has put it: nothing waits for the device.
    return moved_patches(there, batch[keys.MOVEMENT], batch[keys.MARGIN][0].tolist())
