"""An inference whose cases the workers of a dask cluster synthesise, each with the model that it has loaded."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..common.bulk import Job
from ..common.cluster import GB, run_on_cluster
from ..common.errors import InputError
from ..common.folders import writable_folder
from ..common.interrupts import from_python, one_line_interrupts
from ..common.keys import CASE
from ..data.cases import Case
from ..engines import InferenceEngine
from ..engines.inference import FAILURE, OUTPUT_SUFFIX, PATH, SKIPPED
from ..volumes.nifti import nifti_suffix, read_shape
from .options import InferenceOptions
from .running import GO_ON, build_engine, input_cases, load_model, report_outputs, require_trained

# Peak memory of a worker: the libraries and activations, plus bytes per voxel of a scan for a network that sees slices,
# or volumes.
BASE_GB, BYTES_A_VOXEL = 1.0, {2: 16.0, 3: 72.0}
LIGHTER = "--batch-size 1"


class LoadedModel(NamedTuple):
    """What a worker tells of the model that it has loaded.

    Args:
        identity: names the weights, see ``TrainedModel.identity``.
        weights_gb: their size.
        bytes_a_voxel: what else is held of a scan.
    """

    identity: str
    weights_gb: float
    bytes_a_voxel: float

    def memory_gb(self, case: Case) -> float:
        """The peak memory of a case, roughly."""
        return BASE_GB + self.weights_gb + self.bytes_a_voxel * _voxels(case) / GB


@dataclass(frozen=True)
class _Task:
    """A case, and what it is synthesised with: options that name the model, and the weights that they then named."""

    options: InferenceOptions
    identity: str
    case: Case


def run_inference_on_cluster(options: InferenceOptions, scheduler: str) -> None:
    """Synthesise and report as ``run_inference`` does.

    Args:
        options: as on one machine; paths are those of all machines, and the device is each worker's own.
        scheduler: its address.

    Raises:
        InputError: if there is no such scheduler, the model or the output folder can't be used, or the only case
            failed.
        SomeFailed: with the summary of the cases that failed.
    """
    if options.debug:
        logging.getLogger("ncct_cta").setLevel(logging.DEBUG)
    folder = writable_folder(options.output)
    with one_line_interrupts(GO_ON):
        outputs = synthesise_on_cluster(options, input_cases(options).read(), scheduler)
    report_outputs(outputs, folder)


def synthesise_on_cluster(options: InferenceOptions, cases: Sequence[Case], scheduler: str) -> list[dict[str, Any]]:
    """What ``InferenceEngine.output_of`` tells of each case, in their order.

    Raises:
        InputError: if the worker that tries it can't load the model: then none will.
    """
    loaded: dict[str, LoadedModel] = {}
    trial = Job("model", options, BASE_GB)
    shared: dict[str, Any] = {"lighter": LIGHTER, "said": set()}
    for reason in run_on_cluster([trial], _load, scheduler, done=loaded.__setitem__, **shared).values():
        raise InputError(f"loading the model on a worker: {reason}")
    model = loaded[trial.name]
    jobs = [Job(case.name, _Task(options, model.identity, case), model.memory_gb(case)) for case in cases]
    found: dict[str, dict[str, Any]] = {}
    failures = run_on_cluster(jobs, _synthesise, scheduler, done=found.__setitem__, title="volumes", **shared)
    for case, reason in failures.items():
        path = Path(options.output) / f"{case}{OUTPUT_SUFFIX}"
        found[case] = {CASE: case, PATH: path, FAILURE: f"{case}: {reason}", SKIPPED: False}
    return [found[case.name] for case in cases]


# Of this process, if it is a dask worker: the engine of the last inference, for that inference's other cases.
_kept: dict[tuple[InferenceOptions, str], InferenceEngine] = {}
_one_case_at_a_time = threading.Lock()  # whatever the number of a worker's threads: a device holds one


def _load(options: InferenceOptions, report: Callable[[str], None]) -> LoadedModel:
    """Load the model; on a dask worker."""
    with _one_case_at_a_time:
        return _loaded(options)


def _loaded(options: InferenceOptions) -> LoadedModel:
    _kept.clear()  # before there are two of them
    with from_python():
        model = load_model(options)
    require_trained(model)
    engine = build_engine(options, model, ())
    _kept[options, model.identity] = engine
    weights = sum(each.numel() * each.element_size() for each in engine.network.parameters())
    plain = model.preprocessing is None and model.settings.data.spacing is None
    dims = model.settings.model.spatial_dims if plain else 3  # another grid takes floats of all voxels, too
    return LoadedModel(model.identity, weights / GB, BYTES_A_VOXEL[dims])


def _synthesise(task: _Task, report: Callable[[str], None]) -> dict[str, Any]:
    """Synthesise a case with the model that is kept, which is loaded for the first one; on a dask worker."""
    with _one_case_at_a_time:
        if (task.options, task.identity) not in _kept:
            identity = _loaded(task.options).identity
            if identity != task.identity:
                raise InputError(
                    f"its worker finds {identity}, expected {task.identity}; give weights that nobody changes "
                    "meanwhile, at a path that is the same on all machines"
                )
        return _kept[task.options, task.identity].output_of(task.case)


def _voxels(case: Case) -> float:
    """How many a scan has; none where it can't be read, which its worker will say."""
    if case.series is not None:
        return case.series.voxels
    try:
        # The other formats may be compressed, to about a byte a voxel.
        return math.prod(read_shape(case.ncct)) if nifti_suffix(case.ncct) else case.ncct.stat().st_size
    except (InputError, OSError):
        return 0.0
