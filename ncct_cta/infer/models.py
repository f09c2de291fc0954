"""Which models an inference is told to use. Light: what is wrong is said before PyTorch is imported."""

from __future__ import annotations

import dataclasses

from ..common.errors import InputError
from ..runs.model_source import ModelSource
from ..runs.starter import STARTER
from .options import InferenceOptions


def or_starter(options: InferenceOptions) -> InferenceOptions:
    """The options, of which the starter model is the model where they name none."""
    named = options.run_dir or options.checkpoint or options.model_file
    return options if named else dataclasses.replace(options, model_file=(STARTER,))


def model_sources(options: InferenceOptions) -> list[ModelSource]:
    """The models that the options name: one, or the members of an ensemble.

    A checkpoint beside a run's folder is that run's; several of them are an ensemble that shares its settings.

    Raises:
        InputError: if none is named, if it isn't clear which checkpoint belongs to which run, if one is named twice or
            isn't there, or if there is nothing that could disagree.
    """
    runs, checkpoints = options.run_dir, options.checkpoint
    if "" in (*runs, *checkpoints, *options.model_file):
        raise InputError("the name of a model is empty, expected a path; is a variable of the shell not set?")
    if len(runs) > 1 and checkpoints:
        raise InputError(f"--checkpoint beside {len(runs)} runs: it isn't clear whose it is; give runs or checkpoints")
    own = [ModelSource(run=run) for run in runs]
    if checkpoints:
        own = [ModelSource(run=runs[0] if runs else "", checkpoint=checkpoint) for checkpoint in checkpoints]
    sources = [*own, *(ModelSource(archive=archive) for archive in options.model_file)]
    if not sources:
        raise InputError("neither --run nor --checkpoint nor --model is given; say which trained model to use")
    repeated = next((source for source in sources if sources.count(source) > 1), None)
    if repeated is not None:
        raise InputError(f"{repeated.name}: is named twice; an ensemble's models are different ones")
    for source in sources:
        source.require()
    if options.uncertainty and len(sources) * options.predictions_per_model == 1:
        raise InputError(f"--tta {options.tta} of one model is one prediction, which can't disagree; give 2 or more")
    return sources
