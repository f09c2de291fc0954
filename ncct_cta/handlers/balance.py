"""Whether a term of the generator's loss drowns the others, in words."""

from __future__ import annotations

import logging
import math

import ignite.distributed as idist
from ignite.engine import Events
from monai.engines.workflow import Workflow

from ..common import keys

logger = logging.getLogger(__name__)

# What to do about the term whose gradient is too large.
REMEDIES = {
    keys.PULL_RECONSTRUCTION: "D hardly counts: raise discriminator.gan_weight and feat_match_weight",
    keys.PULL_GAN_G: "lower discriminator.gan_weight",
    keys.PULL_FEAT_MATCH: "lower discriminator.feat_match_weight",
}
DROWNS = 10.0


class BalanceHandler:
    """Say once which term's gradient at the generator's output is ``DROWNS`` times that of all others together.

    Attach it after ``MetricsLogHandler``, whose means over the epoch it reads.
    """

    def __init__(self) -> None:
        self.said = False

    def attach(self, engine: Workflow) -> None:
        """Look at the end of every epoch."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Compare the means of the epoch that has just ended, if D has judged in it."""
        metrics = engine.state.metrics
        pulls = {name: float(metrics[name]) for name in REMEDIES if name in metrics}
        if self.said or not pulls or not all(map(math.isfinite, pulls.values())):
            return
        name, largest = max(pulls.items(), key=lambda item: item[1])
        others = sum(pulls.values()) - largest
        if largest > DROWNS * others:
            self.said = True
            logger.warning(
                "epoch %d: at the generator's output the gradient of %s drowns the others (%.2g beside %.2g); %s",
                engine.state.epoch,
                name.removeprefix("pull_"),
                largest,
                others,
                REMEDIES[name],
            )
