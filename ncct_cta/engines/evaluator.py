"""Validation: whole volumes, the same path as inference, errors in HU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.metrics import Metric
from monai.engines import SupervisedEvaluator
from torch import nn

from ..common import keys
from ..common.errors import is_news
from ..inferers.volume import SynthesisedSlices, VolumeInferer
from ..metrics import mean_absolute_error
from ..metrics.term_mean import TermMean
from ..networks import Stages

REGIONS = {"mae": keys.BODY, "lung_mae": keys.LUNG, "vessel_mae": keys.VESSEL}


class SynthesisEvaluator(SupervisedEvaluator):
    """Synthesise every validation case and score it in HU, next to the identity (the NCCT as the prediction).

    ``state.output`` holds the case's HU volumes (X, Y, Z): ``ncct``, ``cta``, ``prediction``, ``coarse`` and
    ``intermediate``, its masks, and the ``terms``; ``state.metrics`` holds the means over the cases.

    Args:
        device: where the network lies.
        val_data_loader: one case per batch, as ``VolumeDataset`` yields them.
        network: the cascade, usually with averaged weights.
        inferer: how the cascade covers a volume.
        loss_function: the training loss; its mean over the slices is ``val_loss``.
        val_handlers: handlers to attach.
    """

    inferer: VolumeInferer

    def __init__(
        self,
        *,
        device: torch.device,
        val_data_loader: Iterable,
        network: nn.Module,
        inferer: VolumeInferer,
        loss_function: nn.Module,
        val_handlers: Sequence | None = None,
    ) -> None:
        metrics: dict[str, Metric] = {name: TermMean(name) for name in keys.VALIDATION_TERMS}
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            network=network,
            inferer=inferer,
            key_val_metric=metrics,  # the first, val_loss, selects the best checkpoint
            metric_cmp_fn=lambda current, best: current < best,
            val_handlers=val_handlers,
            decollate=False,
        )
        self.logger.addFilter(is_news)
        self.loss_function = loss_function

    @torch.inference_mode()
    def _iteration(self, engine: Any, batchdata: Mapping[str, Any]) -> dict[str, Any]:
        case = {key: value[0, 0] if isinstance(value, torch.Tensor) else value[0] for key, value in batchdata.items()}
        ncct = case[keys.NCCT]
        volumes = {name: torch.empty(ncct.shape) for name in (keys.COARSE, keys.INTERMEDIATE, keys.PREDICTION)}
        images = dict(zip(Stages._fields, volumes.values(), strict=True))
        losses, weights = [], []
        for slices in self.inferer.synthesise(ncct, self.network, images):
            losses.append(self._loss(slices, case))
            weights.append(slices.span.stop - slices.span.start)
        output = {**case, **volumes}
        output = {key: value.numpy() if isinstance(value, torch.Tensor) else value for key, value in output.items()}
        output[keys.TERMS] = {keys.VAL_LOSS: float(np.average(losses, weights=weights)), **_errors(output)}
        return output

    def _loss(self, slices: SynthesisedSlices, case: Mapping[str, torch.Tensor]) -> float:
        def in_layout(volume: torch.Tensor) -> torch.Tensor:
            cut = volume[..., slices.span].float()
            return cut.permute(2, 0, 1)[:, None] if slices.ncct.ndim == 4 else cut[None, None]

        cta = self.inferer.window.normalise(in_layout(case[keys.CTA]))
        lung, body = in_layout(case[keys.LUNG]), in_layout(case[keys.BODY])
        ignore = in_layout(case[keys.IGNORE]) if keys.IGNORE in case else None
        return float(self.loss_function(slices.stages.refined, cta, lung, slices.ncct, body, ignore)[keys.LOSS])


def _errors(output: Mapping[str, Any]) -> dict[str, float]:
    """MAE in HU of the prediction, of G's and of the identity over body, lung and vessels, but what is ignored."""
    errors = {}
    counted = output[keys.IGNORE] == 0 if keys.IGNORE in output else True
    images = {"val": output[keys.PREDICTION], "coarse": output[keys.COARSE], "identity": output[keys.NCCT]}
    for prefix, image in images.items():
        for name, region in REGIONS.items():
            errors[f"{prefix}_{name}_hu"] = mean_absolute_error(image, output[keys.CTA], (output[region] > 0) & counted)
    return errors
