"""One inference over all cases, and what is said of it at the end."""

from __future__ import annotations

import logging
from typing import Any

from ..common.errors import InputError, one_line_errors
from ..common.folders import writable_folder
from ..engines import InferenceEngine
from ..engines.inference import FAILURE, PATH, SKIPPED
from ..runs.trained_model import TrainedModel

logger = logging.getLogger(__name__)


@one_line_errors()
def trained_model(**arguments: Any) -> TrainedModel:
    """What an inference runs with; see ``TrainedModel``."""
    return TrainedModel(**arguments)


@one_line_errors()
def run_inference(engine: InferenceEngine, model: TrainedModel) -> None:
    """Run the engine over all cases and say what came of it.

    Args:
        engine: what synthesises and writes.
        model: where its network comes from.

    Raises:
        InputError: if the output folder can't be written, or with the summary of the cases that failed.
    """
    if model.untrained:
        raise InputError("there are no trained weights; give a run's folder (run_dir) or a checkpoint")
    writable_folder(engine.output_dir)
    engine.run()
    failures = [output[FAILURE] for output in engine.outputs if output[FAILURE]]
    if len(engine.outputs) == 1 and failures:
        raise InputError(failures[0])  # one line and no summary of one
    skipped = [output[PATH].name for output in engine.outputs if output[SKIPPED]]
    written = len(engine.outputs) - len(failures) - len(skipped)
    logger.info("%d written to %s, %d failed", written, engine.output_dir, len(failures))
    if skipped:
        logger.warning(
            "%d were there already and were left (--overwrite replaces them): %s", len(skipped), ", ".join(skipped)
        )
    if failures:
        raise InputError(f"{len(failures)} of {len(engine.outputs)} cases failed: " + "; ".join(failures))
