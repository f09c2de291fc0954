"""The predictions that an evaluation makes itself: those of runs and of the HU remap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common.errors import InputError
from ..common.keys import CASE
from ..common.precision import resolve_amp, resolve_device
from ..common.progress import progress_bar
from ..data import Case, read_case_list
from ..engines.inference import FAILURE, OUTPUT_SUFFIX
from ..infer.on_cluster import synthesise_on_cluster
from ..infer.options import InferenceOptions, RunningOptions
from ..infer.running import engine_of, trained_model
from ..metrics import HURemap
from ..runs.model_source import ModelSource
from ..runs.names import BEST, CONFIG, LAST
from ..settings.whole import Settings
from ..volumes.nifti import read_ct, require_same_grid
from ..volumes.nifti_write import write_like
from .failures import Failure, collected
from .provenance import Provenance
from .results import HU_REMAP, Method
from .selection import MethodSource, listed


def predict(
    source: MethodSource,
    cases: Sequence[Case],
    folder: Path,
    options: RunningOptions,
    failures: MutableMapping[str, Failure],
    *,
    scheduler: str = "",
) -> Method:
    """Synthesise the cases with a run's best weights; up-to-date files are reused.

    Args:
        source: a run.
        cases: what to synthesise.
        folder: where ``{case}_syncta.nii.gz`` are written.
        options: how the network runs.
        failures: gets the cases that can't be synthesised.
        scheduler: of a dask cluster that synthesises them instead.

    Raises:
        InputError: if the run can't be used.
    """
    provenance = Provenance(folder)
    files = {case.name: folder / f"{case.name}{OUTPUT_SUFFIX}" for case in cases}
    # The weights, and the settings that go with them.
    trained = [path for path in (source.path / name for name in (BEST, LAST, CONFIG)) if path.is_file()]
    precision = resolve_amp(options.amp, resolve_device(options.device_name))  # another gives other voxels
    outdated = _outdated(cases, files, trained, provenance, failures, precision=precision)
    if outdated:
        if scheduler:
            own = {name: getattr(options, name) for name in RunningOptions.names()}
            whole = InferenceOptions(run_dir=(str(source.path),), output=str(folder), overwrite=True, **own)
            outputs = synthesise_on_cluster(whole, outdated, scheduler)
        else:
            outputs = _synthesised(source, outdated, folder, options)
        failures.update({output[CASE]: Failure(output[FAILURE]) for output in outputs if output[FAILURE]})
        for case in outdated:
            if case.name not in failures:
                provenance.add(files[case.name], [case.ncct, *trained], precision=precision)
    return Method(source.name, files, run=source.path, named_baseline=source.is_baseline)


def _synthesised(
    source: MethodSource, cases: Sequence[Case], folder: Path, options: RunningOptions
) -> list[dict[str, Any]]:
    """What came of each case on this machine."""
    model = trained_model(ModelSource(run=str(source.path)), options)
    bar = progress_bar(cases, desc=f"synthesise with {source.name}", unit="case", leave=False)
    engine = engine_of(model, bar, folder, overwrite=True)
    if model.untrained:
        raise InputError(f"{source.path}: there are no trained weights in it; give the folder of a training")
    engine.run()
    return engine.outputs


def remap(
    training: Sequence[Case], cases: Sequence[Case], folder: Path, failures: MutableMapping[str, Failure]
) -> tuple[Method | None, dict[str, Failure]]:
    """Fit the HU remap on the training pairs only and write its predictions; up-to-date files are reused.

    Args:
        training: pairs, none of which is scored.
        cases: what to predict.
        folder: where ``{case}_syncta.nii.gz`` are written.
        failures: gets the cases that can't be read or written.

    Returns:
        the method, None if no pair can be used; and the pairs that can't, by name.
    """
    provenance = Provenance(folder)
    unusable: dict[str, Failure] = {}
    sources = [path for case in training for path in _files_of_pair(case, unusable)]
    files = {case.name: folder / f"{case.name}{OUTPUT_SUFFIX}" for case in cases}
    outdated = _outdated(cases, files, sources, provenance, failures) if sources else list(cases)
    if outdated:
        with progress_bar(training, desc="fit the HU remap", unit="pair", leave=False) as bar:
            fitted = HURemap(_readable(bar, unusable))
        if len(unusable) == len(training):
            return None, unusable
        for case in outdated:
            with collected(failures, case.name):
                volume = read_ct(case.ncct)
                write_like(fitted(volume.array), volume, files[case.name], description="HU remap, not for diagnosis")
                if not unusable:  # else it is tried again next time
                    provenance.add(files[case.name], [case.ncct, *sources])
    return Method(HU_REMAP, files), unusable


def _files_of_pair(case: Case, unusable: MutableMapping[str, Failure]) -> list[Path]:
    """The files of a training pair; none, and why, where one isn't there."""
    files = [path for path in (case.ncct, case.cta) if path is not None]
    gone = [path for path in files if not path.is_file()]
    if gone:
        unusable[case.name] = Failure(f"{gone[0]}: there is no such file; check the path")
    return [] if gone else files


def _readable(pairs: Iterable[Case], unusable: MutableMapping[str, Failure]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """NCCT and CTA of each pair in HU; why not, where they can't be read."""
    for case in pairs:
        if case.name not in unusable and case.cta is not None:
            with collected(unusable, case.name):
                ncct, cta = read_ct(case.ncct), read_ct(case.cta)
                require_same_grid(ncct, cta, case=case.name)
                yield ncct.array, cta.array


def _outdated(
    cases: Sequence[Case],
    files: Mapping[str, Path],
    sources: Sequence[Path],
    provenance: Provenance,
    failures: MutableMapping[str, Failure],
    **choices: str,
) -> list[Case]:
    """The cases whose files aren't there as they were made from the NCCT, from ``sources`` and with ``choices``."""
    found = []
    for case in cases:
        with collected(failures, case.name):
            if not provenance.is_current(files[case.name], [case.ncct, *sources], **choices):
                found.append(case)
    return found


def training_pairs(settings: Settings) -> list[Case]:
    """Return the pairs that a run was trained on; none if its case list no longer exists.

    Args:
        settings: of the run.
    """
    try:
        return _splits(settings)["training"]
    except InputError:
        return []


def seen_in_training(name: str, settings: Settings, cases: Sequence[Case]) -> list[str]:
    """Remarks if a run was trained on scored cases, if they chose its checkpoint, or if nobody can tell any more.

    Args:
        name: of the method.
        settings: of the run.
        cases: what is scored.
    """
    try:
        splits = _splits(settings)
    except InputError:
        gone = settings.data.datalist
        return [f"{name}: the case list of its training, {gone}, can't be read; was it trained on these cases?"]
    told = {"training": "{} was trained on {}: its figures there say nothing about new patients."}
    if settings.train.best != "last":  # else no case has chosen anything
        told["validation"] = "{}'s best checkpoint was chosen by {}: its figures there flatter it."
    remarks = []
    for split, words in told.items():
        seen = {case.ncct.resolve() for case in splits[split]}
        leaked = [case.name for case in cases if case.ncct.resolve() in seen]
        if leaked:
            remarks.append(words.format(name, listed(leaked)))
    return remarks


def _splits(settings: Settings) -> dict[str, list[Case]]:
    """The run's own case list, split as in its training."""
    return read_case_list(settings.data.datalist, val_fraction=settings.data.val_fraction, seed=settings.train.seed)
