"""Whether G2 is better than the G that it refines, in words."""

from __future__ import annotations

import logging

import ignite.distributed as idist
from ignite.engine import Events
from monai.engines.workflow import Workflow

from ..common import keys

logger = logging.getLogger(__name__)

# By region: the error of G's prediction, and that of what G2 made of it.
COMPARED = {
    "body": (keys.COARSE_MAE_HU, keys.VAL_MAE_HU),
    "lungs": (keys.COARSE_LUNG_MAE_HU, keys.VAL_LUNG_MAE_HU),
    "vessels": (keys.COARSE_VESSEL_MAE_HU, keys.VAL_VESSEL_MAE_HU),
}
WORSE_BY = 1.02  # less is what two trainings of the same settings differ by


class RefinementHandler:
    """Log G's and G2's errors in HU side by side after each validation, and say where G2 is worse than G.

    Args:
        refine: whether there is a G2; without one nothing is said.
    """

    def __init__(self, refine: bool = False) -> None:
        self.refine = refine

    def attach(self, engine: Workflow) -> None:
        """Attach it after the validation, whose metrics it reads."""
        if self.refine and idist.get_rank() == 0:
            engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Compare the errors of the epoch that has just ended, if it was validated."""
        metrics = engine.state.metrics
        errors = {
            region: (float(metrics[coarse]), float(metrics[refined]))
            for region, (coarse, refined) in COMPARED.items()
            if coarse in metrics and refined in metrics
        }
        if not errors:
            return
        listed = ", ".join(f"{region} {coarse:.1f} and {refined:.1f}" for region, (coarse, refined) in errors.items())
        logger.info("mean absolute errors in HU of G and of G2: %s", listed)
        worse = [region for region, (coarse, refined) in errors.items() if refined > WORSE_BY * coarse]
        if worse:
            logger.warning(
                "epoch %d: G2 is worse than the G it refines in %s; train G2 longer, or set refine.base coarse, where "
                "it starts from G",
                engine.state.epoch,
                " and ".join(worse),
            )
