"""The reconstruction loss: lung-weighted L1 and SSIM."""

from __future__ import annotations

from collections.abc import Mapping

import ignite.distributed as idist
import torch
from monai.networks.layers.factories import Pool
from torch import nn

from ..common.keys import L1, LOSS, SSIM
from .adversarial import total
from .ssim import SSIMLoss

NORMALISED_RANGE = 2.0  # the width of [-1, 1]: SSIM's dynamic range


class ReconstructionLoss(nn.Module):
    """``l1_weight * L1_w(prediction, cta) + ssim_weight * (1 - SSIM(prediction, cta))``, the mean over ``scales``.

    ``L1_w = sum_i w_i |prediction_i - cta_i| / sum_i w_i`` with ``w_i = (1 + (lung_weight - 1) * lung_i) *
    (1 + enhancement_weight * enhanced_i)``, where enhanced voxels are those with ``cta - x > enhancement``: vessels are
    4 % of a chest, and the L1's median is "no vessel" wherever one is less likely than not;
    SSIM (Wang et al., IEEE TIP 2004) with an 11-voxel Gaussian window and a dynamic range of 2. Each further scale
    sees images and weights that are 2x average-pooled: its errors are those of shapes, not of edges and noise.

    Args:
        spatial_dims: 2 or 3.
        l1_weight: weight of the lung-weighted L1.
        ssim_weight: weight of 1 - SSIM; at 0 SSIM is not computed.
        lung_weight: weight of a lung voxel in the L1; other voxels weigh 1.
        scales: number of resolutions; 1: the images' own.
        enhancement_weight: added to the weight of an enhanced voxel, as a multiple of it.
        enhancement: what the CTA adds to the NCCT in enhanced voxels, in the units of the images
            (``HUWindow.enhancement``).
        body_only: count errors in the body alone: outside it weights are 0, and the prediction is the CTA (as nnsyn,
            the winner of SynthRAD2025's first task, masks its loss).
        further: more terms by their name in the logs, each a weight and a module from (prediction, cta) to a scalar:
            ``weight * term`` is added, at the images' own resolution.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        l1_weight: float = 1.0,
        ssim_weight: float = 0.2,
        lung_weight: float = 2.0,
        scales: int = 1,
        further: Mapping[str, tuple[float, nn.Module]] | None = None,
        *,
        enhancement_weight: float = 0.0,
        enhancement: float = 0.0,
        body_only: bool = False,
    ) -> None:
        super().__init__()
        self.enhancement_weight = enhancement_weight
        self.enhancement = enhancement
        self.body_only = body_only
        self.l1_weight = l1_weight
        self.ssim_weight = ssim_weight
        self.lung_weight = lung_weight
        self.scales = scales
        self.ssim_loss = SSIMLoss(spatial_dims, NORMALISED_RANGE)
        self.further = nn.ModuleDict({name: term for name, (_, term) in (further or {}).items()})
        self.further_weights = {name: weight for name, (weight, _) in (further or {}).items()}
        self.pool = Pool[Pool.AVG, spatial_dims](kernel_size=2)

    def forward(
        self,
        prediction: torch.Tensor,
        cta: torch.Tensor,
        lung: torch.Tensor,
        ncct: torch.Tensor | None = None,
        body: torch.Tensor | None = None,
        ignore: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Compute the loss and its parts.

        Args:
            prediction: (B, 1, *spatial) in [-1, 1].
            cta: the real CTA, same shape and range.
            lung: lung mask, same shape, 0 or 1.
            ncct: the input x, same shape and range; needed with an enhancement weight.
            body: the body's mask, likewise; needed with ``body_only``.
            ignore: a mask of what isn't counted, likewise: there the weights are 0, and the prediction is the CTA.

        Returns:
            scalars: ``loss`` (differentiable), and of the images' own resolution ``l1`` (the lung-weighted L1),
            ``ssim`` (the index, 1 is perfect) and the further terms by their names.
        """
        # Half precision is too coarse for SSIM's variances.
        prediction, cta = prediction.float(), cta.float()
        weight = 1 + (self.lung_weight - 1) * lung.float()
        if self.enhancement_weight > 0:
            assert ncct is not None
            weight = weight * (1 + self.enhancement_weight * (cta - ncct.float() > self.enhancement))
        if self.body_only:
            assert body is not None
            weight, prediction = _counted(body > 0.5, weight, prediction, cta)
        if ignore is not None:
            weight, prediction = _counted(ignore <= 0.5, weight, prediction, cta)
        images = [prediction, cta, weight]
        terms = self._at_one_scale(*images)
        losses = [terms[LOSS]]
        for _ in range(1, self.scales):
            images = [self.pool(image) for image in images]
            losses.append(self._at_one_scale(*images)[LOSS])
        loss = total(losses) / self.scales
        for name, term in self.further.items():
            value = term(prediction, cta)
            loss = loss + self.further_weights[name] * value
            terms[name] = value.detach()
        return {**terms, LOSS: loss}

    def _at_one_scale(
        self, prediction: torch.Tensor, cta: torch.Tensor, weight: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        l1 = (weight * (prediction - cta).abs()).sum() / _mean_over_processes(weight.sum()).clamp_min(1)
        loss = self.l1_weight * l1
        terms = {L1: l1.detach()}
        if self.ssim_weight > 0:
            dissimilarity = self.ssim_loss(prediction, cta)
            loss = loss + self.ssim_weight * dissimilarity
            terms[SSIM] = 1 - dissimilarity.detach()
        return {LOSS: loss, **terms}


def _counted(
    place: torch.Tensor, weight: torch.Tensor, prediction: torch.Tensor, cta: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and prediction that leave out all but a place; a mask that R has warped lies between 0 and 1."""
    return weight * place, torch.where(place, prediction, cta)


def _mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """So that the mean of the processes' losses is the loss of the whole batch, wherever its lung voxels lie."""
    # In validation each process has its own cases, perhaps none: waiting for the others would deadlock.
    if idist.get_world_size() == 1 or not torch.is_grad_enabled():
        return value
    reduced: torch.Tensor = idist.all_reduce(value.detach().clone())  # type: ignore[assignment]
    return reduced / idist.get_world_size()
