"""An inference from its options to its last line: the model, the cases, the engine, and what came of it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.errors import InputError, SomeFailed, one_line_errors
from ..common.folders import writable_folder
from ..common.interrupts import AGAIN, one_line_interrupts
from ..common.keys import CASE
from ..data.cases import Case
from ..dicom.pseudonyms import KEY_FILE
from ..engines import InferenceEngine
from ..engines.inference import FAILURE, SKIPPED
from ..engines.output_record import Model
from ..inferers.movements import movements
from ..runs.ensemble import TrainedEnsemble
from ..runs.model_source import ModelSource
from ..runs.trained_model import TrainedModel
from ..settings import section_types
from ..transforms import preprocessing_digest
from .dicom_cases import DerivedSeriesWriter
from .input_cases import InputCases
from .models import model_sources
from .options import InferenceOptions, RunningOptions

logger = logging.getLogger(__name__)

REFINE_NET = ("enabled", "hidden_dim", "num_blocks", "fusion", "base")  # the settings that say what G2 computes
LATER_SETTINGS = {"refine.base"}
LISTED_NAMES = 10
GO_ON = f"{AGAIN}: what is written is not done again"


@one_line_errors()
def checked_options(**values: Any) -> InferenceOptions:
    """The options as the bundle's YAML gives them; see ``InferenceOptions``."""
    return InferenceOptions.parse(values)


@one_line_errors()
def load_model(options: InferenceOptions) -> TrainedModel | TrainedEnsemble:
    """The model or the ensemble that the options name; it is the first of an inference to log anything.

    Without a name it is the default network with random weights, for shape checks.
    """
    if options.debug:
        logging.getLogger("ncct_cta").setLevel(logging.DEBUG)
    named = options.run_dir or options.checkpoint or options.model_file
    sources = model_sources(options) if named else [ModelSource()]
    members = [trained_model(source, options) for source in sources]
    model = members[0] if len(members) == 1 else TrainedEnsemble(members)
    model.inferer.movements = movements(options.predictions_per_model)
    return model


def trained_model(source: ModelSource, options: RunningOptions) -> TrainedModel:
    """A trained model that runs as the options say."""
    return TrainedModel(
        source.run,
        source.checkpoint,
        source.archive,
        device=options.device_name,
        amp=options.amp,
        batch_size=options.batch_size,
        engine=options.engine,
        trust=options.trust,
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


def build_engine(
    options: InferenceOptions, model: TrainedModel | TrainedEnsemble, cases: Iterable[Case]
) -> InferenceEngine:
    """The engine that the options describe."""
    return engine_of(
        model,
        cases,
        options.output,
        overwrite=options.overwrite,
        save_intermediates=options.save_intermediates,
        uncertainty=options.uncertainty,
        write_dicom=DerivedSeriesWriter(model.identity) if options.dicom else None,
    )


def engine_of(
    model: TrainedModel | TrainedEnsemble, cases: Iterable[Case], output_dir: str | Path, **choices: Any
) -> InferenceEngine:
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


def recorded_model(model: TrainedModel | TrainedEnsemble) -> Model:
    """What the records of the outputs say of a model: its weights, and all that changes a prediction."""
    name, _, digest = model.identity.rpartition(" sha256:")
    members = model.members if isinstance(model, TrainedEnsemble) else [model]
    settings = _recorded_settings(members[0])
    if len(members) > 1:
        settings["ensemble"] = [{"model": each.identity, **_recorded_settings(each)} for each in members]
    if len(model.inferer.movements) > 1:
        settings["moved"] = [dataclasses.asdict(movement) for movement in model.inferer.movements]
    return Model(name, digest, settings, members[0].engine)


def _recorded_settings(model: TrainedModel) -> dict[str, Any]:
    """The settings that change a prediction of one network."""
    sections = model.settings.as_plain()
    window, spacing = (sections["data"][name] for name in ("window", "spacing"))
    inferer = {name: getattr(model.inferer, name) for name in ("patch_size", "windowed", "overlap", "amp")}
    refine = {key: sections["refine"][key] for key in REFINE_NET}
    parts: dict[str, Any] = {
        name: _as_recorded(name, values) for name, values in (("model", sections["model"]), ("refine", refine))
    }
    if model.preprocessing is not None:
        parts["preprocessing"] = preprocessing_digest(model.preprocessing)
    return {"window_hu": window, "spacing_mm": spacing, **inferer, **parts}


def _as_recorded(section: str, values: dict[str, Any]) -> dict[str, Any]:
    """A section without what older records lack, where it has its default: such a prediction is still the same."""
    default = section_types()[section]()
    return {
        key: value
        for key, value in values.items()
        if f"{section}.{key}" not in LATER_SETTINGS or value != getattr(default, key)
    }


@one_line_errors()
def run_inference(engine: InferenceEngine, model: TrainedModel | TrainedEnsemble) -> None:
    """Run the engine over all cases and report the result.

    Args:
        engine: synthesises the cases and writes them.
        model: the trained model that the engine runs.

    Raises:
        InputError: if the output folder can't be written, or the only case failed.
        SomeFailed: with the summary of the cases that failed.
    """
    require_trained(model)
    writable_folder(engine.output_dir)
    with one_line_interrupts(GO_ON):
        engine.run()
    report_outputs(engine.outputs, engine.output_dir)


def require_trained(model: TrainedModel | TrainedEnsemble) -> None:
    """Refuse random weights, which are for shape checks.

    Raises:
        InputError: if the model has nothing else.
    """
    if model.untrained:
        raise InputError("there are no trained weights; give a run's folder (run_dir) or a checkpoint")


def report_outputs(outputs: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Log what came of each case, by what ``InferenceEngine`` tells of it.

    Raises:
        InputError: if the only case failed.
        SomeFailed: with the summary of the cases that failed.
    """
    failures = [(output[CASE], output[FAILURE]) for output in outputs if output[FAILURE]]
    if len(outputs) == 1 and failures:
        raise InputError(failures[0][1])  # one line and no summary of one
    for case, failure in failures:
        # What is wrong with a DICOM folder is said without its path.
        logger.error("%s", failure if case in failure else f"{case}: {failure}")
    skipped = [output[CASE] for output in outputs if output[SKIPPED]]
    written = len(outputs) - len(failures) - len(skipped)
    logger.info("%d written to %s, %d failed", written, folder, len(failures))
    if skipped:
        logger.info(
            "%d were there already, made from the same scans with the same weights and settings: %s",
            len(skipped),
            _listed(skipped),
        )
    if failures:
        failed = _listed([case for case, _ in failures])
        raise SomeFailed(f"{len(failures)} of {len(outputs)} cases failed, for the reasons above: {failed}")


def _listed(names: Sequence[str]) -> str:
    """Names, of many the first ones alone."""
    more = len(names) - LISTED_NAMES
    return ", ".join(names[:LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")
