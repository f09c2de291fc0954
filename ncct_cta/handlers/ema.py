"""Exponential moving average of the trained weights."""

from __future__ import annotations

import copy

import torch
from ignite.engine import Engine, Events
from torch import nn


class AveragedNetwork:
    """A network and the moving average of its weights: ``average = decay * average + (1 - decay) * weights``.

    The decay warms up as ``min(decay, (1 + n) / (10 + n))`` after n updates (as TensorFlow's ExponentialMovingAverage
    does), otherwise the random initial weights would linger. Buffers are copied, never averaged. PyTorch's
    ``AveragedModel`` counts its updates on the GPU, which waits at each of them to be asked.

    Args:
        network: the trained module.
        decay: weight of the old average at each update.
        enabled: if false, ``averaged`` is the network itself.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999, enabled: bool = True) -> None:
        self.network = network
        self.decay = decay
        self.updates = 0
        self.average = copy.deepcopy(network).requires_grad_(False) if enabled else None

    @property
    def averaged(self) -> nn.Module:
        """The network with the averaged weights."""
        return self.network if self.average is None else self.average

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the current weights."""
        if self.average is None:
            return
        averages: list[torch.Tensor] = list(self.average.parameters())
        weights: list[torch.Tensor] = list(self.network.parameters())
        if self.updates == 0:
            torch._foreach_copy_(averages, weights)
        else:
            decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
            torch._foreach_lerp_(averages, weights, 1 - decay)
        for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)
        self.updates += 1

    def set_updates(self, count: int) -> None:
        """Set the number of updates so far; after 0, the next update copies the weights."""
        self.updates = count


class EMAHandler:
    """Update the average after every step.

    Args:
        average: the network and its average.
    """

    def __init__(self, average: AveragedNetwork) -> None:
        self.average = average

    def attach(self, engine: Engine) -> None:
        """Take the update count from the engine, so that a resumed run continues with it."""
        engine.add_event_handler(Events.STARTED, lambda engine: self.average.set_updates(engine.state.iteration))
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Update after the step just completed."""
        self.average.update()
