"""The reconstruction loss of a pair that may be misaligned: R warps the prediction onto the CTA first."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from ..common.keys import GATE, LOSS, SMOOTHNESS
from ..networks import SmoothnessLoss, warp
from .gate import GateLoss
from .reconstruction import ReconstructionLoss


class Aligned(NamedTuple):
    """NCCT, prediction and CTA aligned with the CTA, each (B, 1, *spatial) in [-1, 1]: the images that D may see."""

    ncct: torch.Tensor
    prediction: torch.Tensor
    cta: torch.Tensor


class AlignedReconstruction(nn.Module):
    """The reconstruction loss of the prediction, warped onto the CTA by R first if there is one.

    ``loss = reconstruction(warp(prediction, d), cta) + smoothness_weight * penalty(d)`` with ``d = R(prediction,
    cta)``. R's input is detached, so that R learns from the warped prediction only: otherwise the generator could lower
    the loss by steering R.

    Args:
        reconstruction: the loss.
        registration_net: R; None: nothing is warped.
        smoothness_weight: weight of the penalty on R's displacement.
        penalty: ``diffusion`` or ``bending``.
        lung_weight_epochs: epochs in which a lung voxel's weight rises from 1 to that of ``reconstruction``, in a line:
            ``1 + min(1, (epoch - 1) / lung_weight_epochs) * (lung_weight - 1)`` (a curriculum: Bengio et al., ICML
            2009). Validation asks ``reconstruction`` itself, or its first epoch would have the lowest loss.
        registration_start: the first epoch with R.
        gate: the loss of G's gate, if G has one; None: a ``GateLoss`` of its defaults.
        gate_weight: its weight. Validation leaves it out: it judges images.

    Attributes:
        epoch: the one that is trained, from 1; whoever trains sets it.
    """

    def __init__(
        self,
        reconstruction: ReconstructionLoss,
        registration_net: nn.Module | None = None,
        smoothness_weight: float = 1.0,
        penalty: str = "diffusion",
        lung_weight_epochs: int = 0,
        registration_start: int = 1,
        gate: GateLoss | None = None,
        gate_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.epoch = max(lung_weight_epochs + 1, registration_start)  # the first one in which all has joined
        self.lung_weight_epochs = lung_weight_epochs
        self.registration_start = registration_start
        self.reconstruction = reconstruction
        self.registration_net = registration_net
        self.smoothness_weight = smoothness_weight
        self.smoothness = SmoothnessLoss(penalty)
        self.gate = gate or GateLoss()
        self.gate_weight = gate_weight

    def forward(
        self,
        ncct: torch.Tensor,
        prediction: torch.Tensor,
        cta: torch.Tensor,
        lung: torch.Tensor,
        body: torch.Tensor | None = None,
        ignore: torch.Tensor | None = None,
        *,
        align: bool = True,
        gate: torch.Tensor | None = None,
    ) -> tuple[dict[str, torch.Tensor], Aligned | None]:
        """Compute the loss and its parts, and the aligned images.

        Args:
            ncct: the input x, (B, 1, *spatial) in [-1, 1].
            prediction: the synthetic CTA, same shape and range.
            cta: the real CTA.
            lung: lung mask on the NCCT's anatomy, 0 or 1.
            body: the body's mask, likewise, where the loss needs it.
            ignore: a mask of what isn't counted, likewise: D sees the CTA there.
            align: whether the aligned images are wanted, which only D looks at; else they are None where R would have
                to warp them.
            gate: the logits of G's gate, likewise, if it has one that trains.
        """
        prediction = prediction.float()
        if self.epoch <= self.lung_weight_epochs:
            # The weight is 1 + (lung_weight - 1) * lung.
            lung = lung * ((self.epoch - 1) / self.lung_weight_epochs)
        if self.registration_net is None or self.epoch < self.registration_start:
            terms = self.reconstruction(prediction, cta, lung, ncct, body, ignore)
            seen = _seen(prediction, cta, ignore)
            return self._with_gate(terms, gate, ncct, cta, ignore), Aligned(ncct, seen, cta)
        displacement = self.registration_net(prediction.detach(), cta)
        fixed = displacement.detach()
        # One field for all: D would take a difference in alignment for a sign of synthesis. And detached: D's
        # judgement must not train R, which could please D by displacing less, because warping blurs.
        gate, body, ignore = (None if image is None else warp(image, fixed) for image in (gate, body, ignore))
        ncct = warp(ncct, fixed) if align or gate is not None or self.reconstruction.enhancement_weight > 0 else ncct
        aligned = Aligned(ncct, _seen(warp(prediction, fixed), cta, ignore), cta) if align else None
        terms = self.reconstruction(warp(prediction, displacement), cta, warp(lung, fixed), ncct, body, ignore)
        smoothness = self.smoothness(displacement)
        terms[LOSS] = terms[LOSS] + self.smoothness_weight * smoothness
        return self._with_gate({**terms, SMOOTHNESS: smoothness.detach()}, gate, ncct, cta, ignore), aligned

    def _with_gate(
        self,
        terms: dict[str, torch.Tensor],
        gate: torch.Tensor | None,
        ncct: torch.Tensor,
        cta: torch.Tensor,
        ignore: torch.Tensor | None,
    ) -> dict[str, torch.Tensor]:
        """The terms, with the gate's if there is one."""
        if gate is None or self.gate_weight == 0:
            return terms
        value = self.gate(gate, ncct, cta, ignore)
        return {**terms, LOSS: terms[LOSS] + self.gate_weight * value, GATE: value.detach()}


def _seen(prediction: torch.Tensor, cta: torch.Tensor, ignore: torch.Tensor | None) -> torch.Tensor:
    """What D sees of a prediction: the CTA where errors aren't counted, so that nothing there tells the two apart."""
    return prediction if ignore is None else torch.where(ignore > 0.5, cta, prediction)
