"""The optimiser step, shared by the generator and the discriminator."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..common.errors import InputError


class NetworkUpdate:
    """Run backward, clip each network's gradient, step the optimiser and advance the schedule.

    Args:
        optimizer: its parameter groups carry the ``name`` of the network (G, G2, R, D).
        lr_scheduler: advanced after every step taken; on an fp16 overflow no step is taken.
        scaler: scales the loss, for fp16; default: none.
        grad_clip: largest norm of each group's gradient; 0 doesn't clip.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_scheduler: LRScheduler,
        scaler: torch.amp.GradScaler | None = None,
        grad_clip: float = 0.0,
    ) -> None:
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
        self.max_norm = grad_clip or float("inf")
        self.lrs: dict[str, float] = {}  # of each group in the last step taken

    @property
    def lr(self) -> float:
        """Learning rate of the first group in the last step; 0 before it."""
        return next(iter(self.lrs.values()), 0.0)

    def __call__(self, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take a step down ``loss``.

        Returns:
            ``gnorm_{name}`` for each group that has a gradient: its norm before clipping.

        Raises:
            InputError: if a gradient isn't finite; no weight has changed then.
        """
        # Zero the gradients here rather than after the step: whatever another network's loss has left must not count.
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norms = {
            f"gnorm_{group['name']}": nn.utils.clip_grad_norm_(group["params"], self.max_norm).detach()
            for group in self.optimizer.param_groups
            if any(parameter.grad is not None for parameter in group["params"])  # or the net hasn't joined yet
        }
        self._require_finite(norms)
        self.lrs = {group["name"]: float(group["lr"]) for group in self.optimizer.param_groups}
        self.scaler.step(self.optimizer)
        scale = self.scaler.get_scale()
        self.scaler.update()
        if self.scaler.get_scale() >= scale:  # the scale drops when the scaler has skipped the step
            self.lr_scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norms

    def _require_finite(self, norms: dict[str, torch.Tensor]) -> None:
        """A finite loss can have a gradient that isn't; one step with it ruins the weights for good."""
        # Under a scaler it is an overflow of fp16: the scaler skips the step and lowers its scale.
        if self.scaler.is_enabled() or bool(torch.isfinite(torch.stack(list(norms.values()))).all()):
            return
        self.optimizer.zero_grad(set_to_none=True)
        listed = ", ".join(f"{name} {float(norm):g}" for name, norm in norms.items())
        raise InputError(
            f"a gradient isn't finite ({listed}); stopped before these weights changed: lower the learning rate, set "
            "train.grad_clip or train.amp off, then resume from the last checkpoint"
        )

    def parts(self, prefix: str = "") -> dict[str, Any]:
        """What has a state to save, by its name in a checkpoint."""
        return {
            f"{prefix}optimizer": self.optimizer,
            f"{prefix}lr_scheduler": self.lr_scheduler,
            f"{prefix}scaler": self.scaler,
        }
