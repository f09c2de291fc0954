"""The loss of a gated head: does its gate open where the CTA is brighter than the NCCT, and nowhere else?"""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from torch import nn

SURE = 30.0  # a logit whose BCE is 0 in float32


class GateLoss(nn.Module):
    """``BCE(gate, enhanced) + 1 - Dice(gate, enhanced)`` with ``enhanced = cta - x > enhancement``, MONAI's.

    Dice (Milletari et al., 3DV 2016) is taken over the batch as a whole: a third of the patches hold no vessel, and of
    these it would say nothing but how closed the gate is. BCE alone would be content with a closed gate, because 4 % of
    a chest is vessel.

    Args:
        enhancement: what the CTA adds to the NCCT in enhanced voxels, in the images' units (``HUWindow.enhancement``).
    """

    def __init__(self, enhancement: float = 0.0) -> None:
        super().__init__()
        self.enhancement = enhancement
        self.dice_and_bce = DiceCELoss(sigmoid=True, batch=True)

    def forward(
        self, gate: torch.Tensor, ncct: torch.Tensor, cta: torch.Tensor, ignore: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss, a scalar.

        Args:
            gate: the gate's logits, (B, 1, *spatial).
            ncct: the input x, same shape, in [-1, 1].
            cta: the real CTA, likewise.
            ignore: a mask of what isn't counted, likewise: the gate is right there.
        """
        enhanced = (cta.float() - ncct.float() > self.enhancement).float()
        gate = gate.float()
        if ignore is not None:
            gate = torch.where(ignore > 0.5, SURE * (2 * enhanced - 1), gate)
        loss: torch.Tensor = self.dice_and_bce(gate, enhanced)
        return loss
