"""Exponential moving average of the trained weights."""

from __future__ import annotations

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


class AveragedNetwork:
    """A network and the moving average of its weights: ``average = decay * average + (1 - decay) * weights``.

    The decay warms up as ``min(decay, (1 + n) / (10 + n))`` after n updates (as TensorFlow's ExponentialMovingAverage
    does), otherwise the random initial weights would linger. Buffers are copied, never averaged. PyTorch's
    ``AveragedModel`` keeps the copy.

    Args:
        network: the trained module.
        decay: weight of the old average at each update.
        enabled: if false, ``averaged`` is the network itself.
    """

    def __init__(self, network: nn.Module, decay: float = 0.999, enabled: bool = True) -> None:
        self.network = network
        self.decay = decay
        self.average = AveragedModel(network, multi_avg_fn=self._blend).requires_grad_(False) if enabled else None

    @property
    def averaged(self) -> nn.Module:
        """The network with the averaged weights."""
        return self.network if self.average is None else self.average.module

    def update(self) -> None:
        """Update the average with the current weights."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def set_updates(self, count: int) -> None:
        """Set the number of updates so far; after 0, the next update copies the weights."""
        if self.average is not None:
            self.average.n_averaged.fill_(count)

    @torch.no_grad()
    def _blend(self, averages: Tensors, weights: Tensors, updates: torch.Tensor | int) -> None:
        count = float(updates)
        decay = min(self.decay, (1 + count) / (10 + count))
        torch._foreach_lerp_(list(averages), list(weights), 1 - decay)


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
