"""Validation: whole volumes, the same path as inference, errors in HU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from ignite.metrics import Metric
from monai.engines import SupervisedEvaluator
from torch import nn

from ..common import keys
from ..common.errors import is_news
from ..inferers.volume import VolumeInferer
from ..metrics.term_mean import TermMean
from ..networks import Stages
from .case_scores import CaseScores


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
        depth = ncct.shape[-1]
        # Slice by slice in memory, as they come from the network.
        made = torch.empty((len(Stages._fields), depth, *ncct.shape[:2])).permute(0, 2, 3, 1)
        scores = CaseScores(self.loss_function, self.inferer)
        slab = case.pop(keys.SLAB_DEPTH, depth)
        for start in range(0, depth, slab):
            part = {key: v[..., start : start + slab] for key, v in case.items() if isinstance(v, torch.Tensor)}
            images = dict(zip(Stages._fields, made[..., start : start + slab], strict=True))
            for slices in self.inferer.synthesise(part[keys.NCCT], self.network, images):
                scores.add(slices, part)
        output = {**case, **dict(zip((keys.COARSE, keys.INTERMEDIATE, keys.PREDICTION), made, strict=True))}
        output = {key: value.numpy() if isinstance(value, torch.Tensor) else value for key, value in output.items()}
        output[keys.TERMS] = scores.terms()
        return output
