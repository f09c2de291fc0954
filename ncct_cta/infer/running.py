"""An inference from its options to its last line: the model, the cases, the engine, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..common.errors import InputError, one_line_errors
from ..common.folders import writable_folder
from ..data.cases import Case
from ..dicom.pseudonyms import KEY_FILE
from ..engines import InferenceEngine
from ..engines.inference import FAILURE, PATH, SKIPPED
from ..runs.trained_model import TrainedModel
from .dicom_cases import DerivedSeriesWriter
from .input_cases import InputCases
from .options import InferenceOptions, RunningOptions

logger = logging.getLogger(__name__)


@one_line_errors()
def checked_options(**values: Any) -> InferenceOptions:
    """The options as the bundle's YAML gives them; see ``InferenceOptions``."""
    return InferenceOptions.parse(values)


@one_line_errors()
def load_model(options: InferenceOptions) -> TrainedModel:
    """The model that the options name, see ``TrainedModel``; it is the first of an inference to log anything."""
    if options.debug:
        logging.getLogger("ncct_cta").setLevel(logging.DEBUG)
    return trained_model(options.run_dir, options.checkpoint, options)


def trained_model(run: str, checkpoint: str, options: RunningOptions) -> TrainedModel:
    """A run's or a checkpoint's model that runs as the options say."""
    return TrainedModel(run, checkpoint, device=options.device_name, amp=options.amp, batch_size=options.batch_size, trust=options.trust)


@one_line_errors()
def input_cases(options: InferenceOptions) -> InputCases:
    """The scans that the options name.

    Raises:
        InputError: if a key table is named that isn't there.
    """
    if options.key_file and not Path(options.key_file).exists():
        # A new table would have a new salt: the same patients would get other names.
        raise InputError(
            f"--keys {options.key_file}: there is no such file; check the path, or leave it out for a new one"
        )
    key_file = options.key_file or str(Path(options.output) / KEY_FILE)
    return InputCases(options.input, options.split, series=options.series, key_file=key_file)


def build_engine(options: InferenceOptions, model: TrainedModel, cases: Iterable[Case]) -> InferenceEngine:
    """The engine that the options describe."""
    return engine_of(
        model,
        cases,
        options.output,
        overwrite=options.overwrite,
        save_intermediates=options.save_intermediates,
        write_dicom=DerivedSeriesWriter(model.identity) if options.dicom else None,
    )


def engine_of(model: TrainedModel, cases: Iterable[Case], output_dir: str | Path, **choices: Any) -> InferenceEngine:
    """The engine that synthesises cases with a trained model; ``choices`` are those of ``InferenceEngine``."""
    return InferenceEngine(
        device=model.device,
        cases=cases,
        network=model.cascade,
        inferer=model.inferer,
        output_dir=output_dir,
        spacing=model.settings.data.spacing,
        **choices,
    )


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
