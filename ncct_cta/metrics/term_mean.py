"""The Ignite metric behind the numbers in the logs."""

from __future__ import annotations

import math
from typing import Any

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

from ..common.keys import TERMS


class TermMean(Metric):
    """The mean over iterations of one of the output's terms; iterations without it are ignored.

    So are values that aren't finite: an overflow in fp16, whose step is skipped, has an infinite gradient norm.

    Args:
        name: the term.
        device: device of the sums.
    """

    def __init__(self, name: str, device: str | torch.device = "cpu") -> None:
        self.name = name
        super().__init__(output_transform=lambda output: output[TERMS].get(name), device=device)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget all iterations."""
        self._sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._count = torch.zeros((), dtype=torch.float64, device=self._device)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add an iteration; tensors are summed on their own device, so that the GPU isn't stalled."""
        if output is None:
            return
        if isinstance(output, float):  # a learning rate: as a tensor it would have to be copied to the GPU
            if math.isfinite(output):
                self._sum += output
                self._count += 1
            return
        value = torch.as_tensor(output, dtype=torch.float64, device=self._device)
        self._sum += torch.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)
        self._count += torch.isfinite(value)

    @sync_all_reduce("_sum", "_count")
    def compute(self) -> float:
        """Return the mean; NaN if nothing was added."""
        return float(self._sum / self._count)
