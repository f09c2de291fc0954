"""The loss and the errors of a validation case, summed slice by slice where the network lies."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ..common import keys
from ..inferers.volume import REFINED, SynthesisedSlices, VolumeInferer

IMAGES = {"val": REFINED, "coarse": keys.COARSE, "identity": None}  # and the stage that each is
REGIONS = {"mae": keys.BODY, "lung_mae": keys.LUNG, "vessel_mae": keys.VESSEL}


class CaseScores:
    """``val_loss``, and the MAE in HU of the prediction, of G's and of the identity over body, lung and vessels.

    Voxels that are ignored don't count. Nothing is read from the device before ``terms``. Sums over slices have double
    precision: a case has 10^8 voxels.

    Args:
        loss_function: the training loss; its mean over the slices is ``val_loss``.
        inferer: whose window says what the network's output is in HU.
    """

    def __init__(self, loss_function: nn.Module, inferer: VolumeInferer) -> None:
        self.loss_function = loss_function
        self.inferer = inferer
        self.losses: list[torch.Tensor] = []  # of each batch times its slices, and the slices
        self.errors: list[torch.Tensor] = []  # of each batch: (images, regions), and as many voxels

    def add(self, slices: SynthesisedSlices, case: Mapping[str, torch.Tensor]) -> None:
        """Take in what the network made of some slices.

        Args:
            slices: from ``VolumeInferer.synthesise``.
            case: the volumes (X, Y, Z) that they are of: NCCT and CTA in HU, and the masks.
        """
        cut = {
            key: case[key][..., slices.span].to(slices.ncct.device, non_blocking=True)
            for key in (keys.NCCT, keys.CTA, *REGIONS.values(), keys.IGNORE)
            if key in case
        }
        own_hu, cta_hu = cut[keys.NCCT].float(), cut[keys.CTA].float()
        self.losses.append(self._loss(slices, cut))
        images = (own_hu if stage is None else self.inferer.hu_of(slices, stage, own_hu) for stage in IMAGES.values())
        errors = torch.stack([_by_slice((image - cta_hu).abs_()) for image in images], dim=1)
        counted = cut[keys.IGNORE] == 0 if keys.IGNORE in cut else True
        masks = torch.stack([_by_slice((cut[region] > 0) & counted) for region in REGIONS.values()], dim=1)
        sums = torch.bmm(errors, masks.float().mT).sum(dim=0, dtype=torch.float64)
        self.errors.append(torch.cat([sums, torch.count_nonzero(masks, dim=(0, 2))[None]]))

    def _loss(self, slices: SynthesisedSlices, cut: Mapping[str, torch.Tensor]) -> torch.Tensor:
        def in_layout(volume: torch.Tensor) -> torch.Tensor:
            return volume.float().permute(2, 0, 1)[:, None] if slices.ncct.ndim == 4 else volume.float()[None, None]

        cta = self.inferer.window.normalise(in_layout(cut[keys.CTA]))
        lung, body = in_layout(cut[keys.LUNG]), in_layout(cut[keys.BODY])
        ignore = in_layout(cut[keys.IGNORE]) if keys.IGNORE in cut else None
        terms = self.loss_function(slices.stages.refined, cta, lung, slices.ncct, body, ignore)
        count = slices.span.stop - slices.span.start
        return torch.stack([terms[keys.LOSS].double() * count, cta.new_tensor(count).double()])

    def terms(self) -> dict[str, float]:
        """The case's terms by their log names; NaN over a mask that is empty."""
        loss, slices = torch.stack(self.losses).sum(dim=0).tolist()
        *sums, counts = torch.stack(self.errors).sum(dim=0)
        errors = torch.stack(sums) / counts  # 0 / 0 is NaN
        names = [f"{image}_{region}_hu" for image in IMAGES for region in REGIONS]
        return {keys.VAL_LOSS: loss / slices, **dict(zip(names, errors.flatten().tolist(), strict=True))}


def _by_slice(volume: torch.Tensor) -> torch.Tensor:
    """(X, Y, n) as (n, X * Y)."""
    return volume.permute(2, 0, 1).flatten(1)
