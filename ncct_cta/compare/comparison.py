"""A comparison: each recipe trained for the same time, then all scored in one report."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..common.errors import InputError, SomeFailed, fault_in_words, unwrapped
from ..common.files import sha256_of
from ..common.folders import locked_folder, writable_folder
from ..common.interrupts import from_python
from ..common.precision import resolve_device
from ..common.progress import is_quiet
from ..evaluate.evaluation import require_all_scored, run_evaluation, show
from ..evaluate.sources import MethodSource
from ..infer.options import RunningOptions
from ..runs.names import LAST
from ..settings.places import find_config
from .equal_time import TimedTraining, steps_within
from .plan import RECORD, Record

logger = logging.getLogger(__name__)

RUNS, EVALUATION = "runs", "evaluation"
EPOCHS = 10  # of each training: an interrupted one goes on after the last
AS_COMPARED = ("--train::best", "last", "--train::skip_warmup", "true")


def run_comparison(
    recipes: Mapping[str, str],
    *,
    datalist: Path,
    minutes: float,
    output: Path,
    device: str = "auto",
    seed: int = 0,
    words: Sequence[str] = (),
) -> None:
    """Train what isn't trained yet, and score all.

    Args:
        recipes: presets by their names in the report.
        datalist: a case list or a folder of cases.
        minutes: time of each training, the process' on a CPU.
        output: the folder to write to.
        device: PyTorch's name of it, or ``auto``.
        seed: of each training.
        words: settings for all recipes, as on the command line.

    Raises:
        InputError: if the folder holds another comparison, or nothing could be trained.
        SomeFailed: if a recipe couldn't be trained, or a case not be scored; the others are in the report.
    """
    folder = writable_folder(str(output))
    where = str(resolve_device(device))
    asked = {"datalist": str(datalist), "minutes": minutes, "device": where, "seed": seed, "settings": list(words)}
    failures: dict[str, str] = {}
    with locked_folder(folder):
        record = Record.opened(folder / RECORD, asked)
        for name, preset in recipes.items():
            training = TimedTraining(preset, datalist, (*words, *AS_COMPARED), where, seed)
            try:
                with from_python(), unwrapped():
                    train_recipe(name, training, record, 60 * minutes)
            except Exception as error:  # whatever ends one training, the others go on
                failures[name] = str(error) if isinstance(error, InputError) else fault_in_words(error)
                logger.error("%s: %s", name, failures[name])
        trained = [name for name in recipes if name not in failures]
        if not trained:
            raise InputError(f"none of the {len(recipes)} recipes could be trained: {next(iter(failures.values()))}")
        sources = [MethodSource(name, folder / RUNS / name, is_run=True) for name in trained]
        evaluation = run_evaluation(
            sources, datalist=str(datalist), output=str(folder / EVALUATION), running=RunningOptions(device_name=where)
        )
    show(evaluation, str(folder / EVALUATION), report=True)
    print(table_of(record, trained))
    require_all_scored(evaluation)
    if failures:
        raise SomeFailed(f"{len(failures)} of {len(recipes)} recipes can't be trained: {', '.join(failures)}")


def train_recipe(name: str, training: TimedTraining, record: Record, seconds: float) -> None:
    """Train one recipe for so many seconds, or what is missing of it.

    Raises:
        InputError: if its file has changed since it was begun, or it can't be trained.
    """
    folder = record.path.parent
    run, digest = folder / RUNS / name, sha256_of(Path(find_config(training.preset)))
    known = record.recipes.get(name, {})
    if known.get("sha256", digest) != digest:
        raise InputError(f"{training.preset} has changed since it was trained here; choose another --output")
    if "seconds" in known and (run / LAST).is_file():
        say(f"{name}: trained already, {known['steps']} steps")
        return
    if "steps" not in known:
        say(f"{name}: measuring a step")
        with tempfile.TemporaryDirectory(dir=folder, prefix=".measuring_") as place:
            per_step = training.seconds_per_step(Path(place))
        steps = steps_within(seconds, per_step)
        record.note(name, sha256=digest, seconds_per_step=per_step, steps=steps - steps % min(EPOCHS, steps))
    known = record.recipes[name]
    say(f"{name}: {known['steps']} steps")
    whole = not (run / LAST).is_file()
    took = training.run(known["steps"], run, epochs=min(EPOCHS, known["steps"]), resume=True)
    record.note(name, seconds=took if whole else math.nan)


def table_of(record: Record, names: Sequence[str]) -> str:
    """Steps and time of each training, to print."""
    width = max(map(len, names))
    lines = [f"{'':<{width}}  {'steps':>7}  {'s a step':>8}  {'minutes':>7}"]
    for name in names:
        known = record.recipes[name]
        minutes = known["seconds"] / 60 if known["seconds"] is not None else math.nan
        shown = "resumed" if math.isnan(minutes) else f"{minutes:.1f}"
        lines.append(f"{name:<{width}}  {known['steps']:>7}  {known['seconds_per_step']:>8.3g}  {shown:>7}")
    return "\n".join(lines)


def say(text: str) -> None:
    """Print what comes next."""
    if not is_quiet():
        print(f"\n== {text}", flush=True)
