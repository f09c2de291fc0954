"""The predictions that an evaluation makes itself: those of trained runs, and the HU remap's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from ..common.errors import InputError
from ..data import Case, read_case_list
from ..engines.inference import OUTPUT_SUFFIX
from ..infer.options import RunningOptions
from ..infer.running import engine_of, run_inference, trained_model
from ..metrics import HURemap
from ..runs.files import BEST, CONFIG, LAST
from ..settings.sections import Settings
from ..volumes.nifti import read_ct
from ..volumes.nifti_write import write_like
from .provenance import Provenance
from .results import HU_REMAP, Method
from .selection import MethodSource, listed


def predict(source: MethodSource, cases: Sequence[Case], folder: Path, options: RunningOptions) -> Method:
    """Synthesise the cases with a run's best weights; files that are up to date are used as they are.

    Args:
        source: a run.
        cases: what to synthesise.
        folder: where ``{case}_syncta.nii.gz`` are written.
        options: how the network runs.

    Raises:
        InputError: if the run can't be used or a case can't be synthesised.
    """
    provenance = Provenance(folder)
    files = {case.name: folder / f"{case.name}{OUTPUT_SUFFIX}" for case in cases}
    # The weights, and the settings that say how to use them.
    trained = [path for path in (source.path / name for name in (BEST, LAST, CONFIG)) if path.is_file()]
    # Another precision than the run's gives other voxels, which are kept for nobody.
    outdated = [
        case for case in cases if options.amp or not provenance.is_current(files[case.name], [case.ncct, *trained])
    ]
    if outdated:
        model = trained_model(str(source.path), "", options)
        bar = tqdm(outdated, desc=f"synthesise with {source.name}", unit="case", leave=False)
        engine = engine_of(model, bar, folder, overwrite=True)
        run_inference(engine, model)
        for case in outdated if not options.amp else ():
            provenance.add(files[case.name], [case.ncct, *trained])
    return Method(source.name, files, run=source.path)


def remap(training: Sequence[Case], cases: Sequence[Case], folder: Path) -> Method:
    """Fit the HU remap on the training pairs alone and write what it predicts; up-to-date files are used.

    Args:
        training: pairs, none of which is scored.
        cases: what to predict.
        folder: where ``{case}_syncta.nii.gz`` are written.
    """
    provenance = Provenance(folder)
    pairs = [(case.ncct, case.cta) for case in training if case.cta is not None]
    sources = [path for pair in pairs for path in pair]
    files = {case.name: folder / f"{case.name}{OUTPUT_SUFFIX}" for case in cases}
    outdated = [case for case in cases if not provenance.is_current(files[case.name], [case.ncct, *sources])]
    if outdated:
        with tqdm(pairs, desc="fit the HU remap", unit="pair", leave=False) as bar:
            fitted = HURemap((read_ct(ncct).array, read_ct(cta).array) for ncct, cta in bar)
        for case in outdated:
            volume = read_ct(case.ncct)
            write_like(fitted(volume.array), volume, files[case.name], description="HU remap, not for diagnosis")
            provenance.add(files[case.name], [case.ncct, *sources])
    return Method(HU_REMAP, files)


def training_pairs(settings: Settings) -> list[Case]:
    """The pairs that a run was trained on; none if its case list is gone.

    Args:
        settings: of the run.
    """
    try:
        return _splits(settings)["training"]
    except InputError:
        return []


def seen_in_training(name: str, settings: Settings, cases: Sequence[Case]) -> str | None:
    """A remark if a run was trained on scored cases, or if its own case list is gone and can't tell.

    Args:
        name: of the method.
        settings: of the run.
        cases: what is scored.
    """
    try:
        splits = _splits(settings)
    except InputError:
        gone = settings.data.datalist
        return f"{name}: the case list of its training, {gone}, can't be read; was it trained on these cases?"
    trained_on = {case.ncct.resolve() for case in splits["training"]}
    leaked = [case.name for case in cases if case.ncct.resolve() in trained_on]
    if not leaked:
        return None
    return f"{name} was trained on {listed(leaked)}: its figures there say nothing about new patients."


def _splits(settings: Settings) -> dict[str, list[Case]]:
    """The run's own case list, split as in its training."""
    return read_case_list(settings.data.datalist, val_fraction=settings.data.val_fraction, seed=settings.train.seed)
