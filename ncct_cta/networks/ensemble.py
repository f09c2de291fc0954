"""Several trained networks as one module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class Ensemble(nn.ModuleList):
    """Cascades that were trained alike, from other random starts; whoever covers a volume runs them one by one.

    How far they disagree is a measure of what they don't know (Lakshminarayanan et al., Simple and Scalable
    Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017).
    """


def members_of(network: nn.Module) -> Sequence[nn.Module]:
    """The networks of an ensemble, or the one network alone."""
    return list(network) if isinstance(network, Ensemble) else [network]
