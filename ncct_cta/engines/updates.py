"""The optimiser step, shared by the generator and the discriminator."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..common.errors import InputError

CHECK_EVERY = 10  # steps, where a check would make a GPU wait


class NetworkUpdate:
    """Run backward, clip each network's gradient, step the optimiser and advance the schedule.

    A loss or a gradient that isn't finite changes no weight. With a fused optimiser, whose kernels can leave a step out
    by themselves, nothing waits for the device to say so: that step and all after it are left out there, and ``check``
    raises later.

    Args:
        optimizer: its parameter groups carry the ``name`` of the network (G, G2, R, D).
        lr_scheduler: advanced after every step taken; on an fp16 overflow no step is taken.
        scaler: scales the loss, for fp16; default: none.
        grad_clip: largest norm of each group's gradient; 0 doesn't clip.

    Attributes:
        check_every: after how many steps ``check`` is due; at 1 each step checks itself.
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
        self.check_every = CHECK_EVERY if optimizer.defaults.get("fused") else 1
        self._unchecked: list[torch.Tensor] = []  # of each step the loss and the norms
        self._stopped = torch.zeros(())

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
        # Under a scaler it is an overflow of fp16: the scaler skips the step and lowers its scale.
        if not self.scaler.is_enabled():
            own = loss.detach().float()
            # A net that joins later has no gradient yet: as a zero, so that all steps are stacked alike.
            all_norms = [
                norms.get(f"gnorm_{group['name']}", own.new_zeros(())) for group in self.optimizer.param_groups
            ]
            self._require_finite(torch.stack([own, *all_norms]))
        self.lrs = {group["name"]: float(group["lr"]) for group in self.optimizer.param_groups}
        self.scaler.step(self.optimizer)
        if self._advances():
            self.lr_scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norms

    def _advances(self) -> bool:
        """Whether the scaler took the step, its scale being updated."""
        if not self.scaler.is_enabled():
            return True
        scale = self.scaler.get_scale()
        self.scaler.update()
        return self.scaler.get_scale() >= scale  # the scale drops when the scaler has skipped the step

    def _require_finite(self, values: torch.Tensor) -> None:
        """A finite loss can have a gradient that isn't; one step with it ruins the weights for good."""
        self._unchecked.append(values)
        if self.check_every == 1:
            self.check()
            return
        finite = torch.isfinite(values).all()
        self._stopped = torch.maximum(self._stopped.to(values.device), 1.0 - finite.float())
        self.optimizer.found_inf = self._stopped  # type: ignore[attr-defined]  # what a GradScaler tells fused kernels
        if len(self._unchecked) > 10 * self.check_every:  # nobody asks: then at least no training goes on in vain
            self.check()

    def check(self) -> None:
        """Read from the device whether all steps since the last check were taken.

        Raises:
            InputError: if a loss or a gradient wasn't finite; no weight has changed since.
        """
        if not self._unchecked:
            return
        steps = torch.stack(self._unchecked).cpu()
        self._unchecked.clear()
        # A loss alone is the handlers' to judge, who know its cases; here it counts where nobody waits for them.
        judged = steps[:, 1:] if self.check_every == 1 else steps
        bad = (~torch.isfinite(judged).all(dim=1)).nonzero()[:, 0].tolist()
        if not bad:
            return
        self.optimizer.zero_grad(set_to_none=True)
        names = [f"gnorm_{group['name']}" for group in self.optimizer.param_groups]
        norms = steps[bad[0], 1:].tolist()
        listed = ", ".join(f"{name} {norm:g}" for name, norm in zip(names, norms, strict=True))
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
