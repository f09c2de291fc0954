"""Parts for tests of engines and handlers: a cascade of a few hundred weights, random batches, a trainer of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ncct_cta.common.keys import CASE, CTA, LUNG, NCCT
from ncct_cta.engines import NetworkUpdate, SynthesisTrainer
from ncct_cta.losses.aligned import AlignedReconstruction
from ncct_cta.losses.reconstruction import ReconstructionLoss
from ncct_cta.networks import Generator, RefineNet, Stages, SynthesisCascade

CPU = torch.device("cpu")


class Identity(nn.Module):
    """A cascade that gives back the NCCT, shifted by its only weight."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, ncct: torch.Tensor) -> Stages:
        image = ncct + self.shift
        return Stages(image, ncct * image.abs(), image)


def tiny_cascade(*, seed: int = 0, refine: bool = False, norm: str = "instance") -> SynthesisCascade:
    """G of two levels, and G2 over a frozen G if wanted."""
    torch.manual_seed(seed)
    generator = Generator(channels=(4, 8), num_res_units=0, norm=norm)
    # From noise rather than from the identity: then every weight has a gradient.
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.1)
    return SynthesisCascade(generator, RefineNet(hidden_dim=4, num_blocks=1) if refine else None)


def tiny_batch(seed: int = 0, *, size: int = 16, count: int = 2) -> dict[str, Any]:
    """A batch as the loaders give it; the CTA is the NCCT with a bright square in it."""
    generator = torch.Generator().manual_seed(seed)
    ncct = torch.rand(count, 1, size, size, generator=generator) - 0.5
    cta, lung = ncct.clone(), torch.zeros_like(ncct)
    cta[..., 4:10, 4:10] += 0.4
    lung[..., : size // 2] = 1
    return {NCCT: ncct, CTA: cta, LUNG: lung, CASE: [f"case{seed}-{index}" for index in range(count)]}


def make_trainer(
    network: nn.Module,
    batches: Sequence[dict[str, Any]],
    *,
    epochs: int = 1,
    lr: float = 1e-2,
    optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW,
    grad_clip: float = 0.0,
    amp: str = "off",
    handlers: Sequence[Any] = (),
) -> SynthesisTrainer:
    """A trainer of everything in ``network`` that wants a gradient."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = optimizer([{"params": parameters, "name": "G"}], lr=lr)
    return SynthesisTrainer(
        device=CPU,
        max_epochs=epochs,
        train_data_loader=batches,
        network=network,
        objective=AlignedReconstruction(ReconstructionLoss()),
        update=NetworkUpdate(optimiser, LambdaLR(optimiser, lambda step: 1.0), grad_clip=grad_clip),
        train_handlers=handlers,
        amp=amp,
    )


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a network's state."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two states are the same bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
