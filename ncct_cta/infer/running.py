"""An inference from its options to its last line: the model, the cases, the engine, and what came of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..common.errors import InputError, one_line_errors
from ..common.folders import writable_folder
from ..common.interrupts import AGAIN, one_line_interrupts
from ..common.keys import CASE
from ..data.cases import Case
from ..dicom.pseudonyms import KEY_FILE
from ..engines import InferenceEngine
from ..engines.inference import FAILURE, SKIPPED
from ..engines.output_record import Model
from ..runs.trained_model import TrainedModel
from ..settings import section_types
from ..transforms import preprocessing_digest
from .dicom_cases import DerivedSeriesWriter
from .input_cases import InputCases
from .options import InferenceOptions, RunningOptions

logger = logging.getLogger(__name__)

REFINE_NET = ("enabled", "hidden_dim", "num_blocks", "fusion", "base")  # the settings that say what G2 computes
LATER_SETTINGS = {"model.in_slices", "refine.base"}
LISTED_NAMES = 10


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
    return TrainedModel(
        run, checkpoint, device=options.device_name, amp=options.amp, batch_size=options.batch_size, trust=options.trust
    )


@one_line_errors()
def input_cases(options: InferenceOptions) -> InputCases:
    """The scans that the options name.

    Raises:
        InputError: if a key table is named that isn't there.
    """
    if options.key_file and not Path(options.key_file).exists():
        # A new table would have a new salt, and the same patients would get other pseudonyms.
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
        model=recorded_model(model),
        output_dir=output_dir,
        spacing=model.settings.data.spacing,
        preprocessing=model.preprocessing,
        **choices,
    )


def recorded_model(model: TrainedModel) -> Model:
    """What the records of the outputs say of a model: its weights, and the settings that change a prediction."""
    checkpoint, _, digest = model.identity.rpartition(" sha256:")
    sections = model.settings.as_plain()
    window, spacing = (sections["data"][name] for name in ("window", "spacing"))
    inferer = {name: getattr(model.inferer, name) for name in ("patch_size", "windowed", "overlap", "amp")}
    refine = {key: sections["refine"][key] for key in REFINE_NET}
    parts: dict[str, Any] = {
        name: _as_recorded(name, values) for name, values in (("model", sections["model"]), ("refine", refine))
    }
    if model.preprocessing is not None:
        parts["preprocessing"] = preprocessing_digest(model.preprocessing)
    return Model(checkpoint, digest, {"window_hu": window, "spacing_mm": spacing, **inferer, **parts})


def _as_recorded(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """A section without what older records lack, where it has its default: such a prediction is still the same."""
    default = section_types()[section]()
    return {
        key: value
        for key, value in values.items()
        if f"{section}.{key}" not in LATER_SETTINGS or value != getattr(default, key)
    }


@one_line_errors()
def run_inference(engine: InferenceEngine, model: TrainedModel) -> None:
    """Run the engine over all cases and report the result.

    Args:
        engine: synthesises the cases and writes them.
        model: the trained model that the engine runs.

    Raises:
        InputError: if the output folder can't be written, or with the summary of the cases that failed.
    """
    if model.untrained:
        raise InputError("there are no trained weights; give a run's folder (run_dir) or a checkpoint")
    writable_folder(engine.output_dir)
    with one_line_interrupts(f"{AGAIN}: what is written is not done again"):
        engine.run()
    failures = [output[FAILURE] for output in engine.outputs if output[FAILURE]]
    if len(engine.outputs) == 1 and failures:
        raise InputError(failures[0])  # one line and no summary of one
    for failure in failures:
        logger.error("%s", failure)
    skipped = [output[CASE] for output in engine.outputs if output[SKIPPED]]
    written = len(engine.outputs) - len(failures) - len(skipped)
    logger.info("%d written to %s, %d failed", written, engine.output_dir, len(failures))
    if skipped:
        logger.info(
            "%d were there already, made from the same scans with the same weights and settings: %s",
            len(skipped),
            _listed(skipped),
        )
    if failures:
        failed = _listed([output[CASE] for output in engine.outputs if output[FAILURE]])
        raise InputError(f"{len(failures)} of {len(engine.outputs)} cases failed, for the reasons above: {failed}")


def _listed(names: Sequence[str]) -> str:
    """Names, of many the first ones alone."""
    more = len(names) - LISTED_NAMES
    return ", ".join(names[:LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")
