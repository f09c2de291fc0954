"""``python -m ncct_cta.demo``: the whole way on phantoms, from an empty folder to a table and a picture.

It makes a cohort of synthetic patients, trains on some of them through the MONAI bundle (G, then G2 on the frozen G,
then G2 against a discriminator D), synthesises the CTA of the held-out ones, and compares the saved files with two
baselines that know no anatomy.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import infer, train
from ..common.errors import InputError, one_line_errors
from ..common.files import to_json, write_text
from ..data import Case, read_case_list
from ..engines.inference import OUTPUT_SUFFIX
from ..evaluate.comparison import evaluate
from ..evaluate.report.page import write_report
from ..evaluate.results import Evaluation, Method
from ..evaluate.score_files import format_table
from ..phantom.cohort import write_cohort
from ..runs.files import BEST
from .summary import means, verdict, write_preview

COHORT, PREDICTIONS, EVALUATION, PREVIEW = "phantom", "predictions", "evaluation", "preview.png"
SUMMARY, TABLE, REPORT = "summary.json", "table.txt", "report.html"
AIR = 16  # voxels at most: without it a network could lean on how much air there is, and no figure would show it
MARKER = "README.txt"
MARKER_TEXT = """\
Written by python -m ncct_cta.demo; another demo with the same --output replaces what is listed here.

phantom/          the synthetic patients: NCCT, CTA, lung and vessel masks as NIfTI, and datalist.json
{runs}
evaluation/       scores of every held-out patient, their statistics, and what the HU remap baseline predicts
report.html       all of it to look at, in a browser: tables, a viewer of the volumes, the training's curves
summary.json      means over the held-out patients; table.txt: the same as it was printed
preview.png       a held-out patient
"""
READING = """\
How to read it: the errors are means over patients that no network has seen. "identity" leaves the NCCT as it is: its
error in the vessels is the missing contrast, elsewhere it is the noise of two scans, which nobody can predict. "HU
remap" knows intensities and no anatomy: it gives each NCCT value the mean CTA value that it has in the training pairs.
A network that doesn't beat both in the vessels has learned nothing, and one that is worse than the identity in the body
without vessels changes what it should leave alone. Enhancement recovery is the share of the true contrast that the
prediction shows: 1 is perfect, 0 is none. G2 refines what the frozen G gave; against D it learns to look like a real
CTA, noise included, which nobody can predict voxel by voxel: its sharpness gets nearer to 1 and its errors may rise."""


@dataclass(frozen=True)
class Stage:
    """A training of the demo and its inference.

    Args:
        name: in the table and in summary.json.
        folder: of the run, in the demo's folder.
        preset: what it is trained from.
        steps: optimiser steps.
        epochs: into how many epochs, each with a validation, the steps are divided.
        starts_from: settings that take an earlier stage's best checkpoint, with that stage's folder, for example
            ``{"train::pretrained_G": "g"}``.
    """

    name: str
    folder: str
    preset: str
    steps: int
    epochs: int = 5
    starts_from: Mapping[str, str] = field(default_factory=dict)


FROM_G = {"train::pretrained_G": "g"}
STAGES = (
    Stage("G", "g", "g_small", steps=900),
    Stage("G2", "g2", "g2_small", steps=300, epochs=2, starts_from=FROM_G),
    Stage(
        "G2 + D", "g2_gan", "g2_gan_small", steps=200, epochs=2,
        starts_from=FROM_G | {"train::pretrained_G2": "g2"},
    ),
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ncct_cta.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default="demo_output", metavar="DIR", help="default: ./demo_output")
    parser.add_argument("--seed", type=int, default=0, help="seed of the phantoms and of the training (default: 0)")
    parser.add_argument("--cases", type=int, default=14, help="synthetic patients, at least 3 (default: 14)")
    parser.add_argument("--steps", type=int, default=0, help="training steps of every stage (default: its own)")
    return parser


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo."""
    options = build_parser().parse_args(argv)
    if options.cases < 3 or options.steps < 0:
        raise InputError(f"--cases {options.cases} --steps {options.steps}: expected 3 or more cases, 0 or more steps")
    start = time.monotonic()
    output: Path = options.output
    prepare_folder(output)
    say(f"{options.cases} synthetic patients, seed {options.seed}")
    datalist = write_cohort(output / COHORT, cases=options.cases, seed=options.seed, air=AIR)
    for stage in STAGES:
        run_stage(stage, output, datalist, seed=options.seed, steps=options.steps or stage.steps)
    say("comparing the saved files")
    splits = read_case_list(datalist)
    evaluation = compare(splits["training"], splits["testing"], output)
    summary = {
        "methods": means(evaluation),
        "cases": len(evaluation.cases),
        "cohort": {split: [case.name for case in cases] for split, cases in splits.items()},
        "seed": options.seed,
        "seconds": round(time.monotonic() - start, 1),
    }
    report(evaluation, summary, output)


def prepare_folder(output: Path) -> None:
    """Make the demo's folder; what an earlier demo left in it goes, other files are never touched.

    Raises:
        InputError: if it can't be written, or holds something of the same name that no demo wrote.
    """
    replaced = [COHORT, EVALUATION, *(stage.folder for stage in STAGES), SUMMARY, TABLE, REPORT, PREVIEW]
    there = [name for name in replaced if (output / name).exists()]
    try:
        if there and not (output / MARKER).is_file():
            raise InputError(f"{output} holds {', '.join(there)}, which no demo wrote; choose another --output")
        output.mkdir(parents=True, exist_ok=True)
        runs = "\n".join(f"{f'{s.folder}/':<17} {s.name}: a training's folder, and its predictions/" for s in STAGES)
        (output / MARKER).write_text(MARKER_TEXT.format(runs=runs))
        for path in [output / name for name in there]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise InputError(f"{output} can't be written ({error.strerror or error}); choose another --output") from error
    if there:
        say(f"replaced the earlier demo in {output}: {', '.join(there)}")


def run_stage(stage: Stage, output: Path, datalist: Path, *, seed: int, steps: int) -> None:
    """Train and synthesise the held-out patients, with the commands that a user would type."""
    run = output / stage.folder
    epochs = min(stage.epochs, steps)
    settings: dict[str, Any] = {
        "data::datalist": datalist,
        **{name: output / folder / BEST for name, folder in stage.starts_from.items()},
        "train::num_epochs": epochs,
        "train::steps_per_epoch": steps // epochs,
        "train::seed": seed,
        "train::output_dir": run,
    }
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    for module, arguments in (
        (train, [stage.preset, *words]),
        (infer, ["--run", str(run), "--input", str(datalist), "--output", str(run / PREDICTIONS)]),
    ):
        say(shlex.join(["python", "-m", module.__name__, *arguments]))
        module.main(arguments)


def compare(training: Sequence[Case], held_out: Sequence[Case], output: Path) -> Evaluation:
    """Score every stage on the held-out patients, write the report, and draw one of them."""
    methods = []
    for stage in STAGES:
        folder = output / stage.folder
        files = {case.name: folder / PREDICTIONS / f"{case.name}{OUTPUT_SUFFIX}" for case in held_out}
        methods.append(Method(stage.name, files, run=folder))
    evaluation = evaluate(held_out, methods, output=output / EVALUATION, training=training)
    write_report(evaluation, output / REPORT)
    first = held_out[0]
    write_preview(first, {method.name: method.predictions[first.name] for method in methods}, output / PREVIEW)
    return evaluation


def report(evaluation: Evaluation, summary: Mapping[str, Any], output: Path) -> None:
    """Write the summary and the table, and tell the user what there is to see."""
    table = format_table(evaluation)
    write_text(to_json(summary), output / SUMMARY)
    write_text(table, output / TABLE)
    runs = ", ".join(f"{output / stage.folder}" for stage in STAGES)
    print(f"\n{table}\n{READING}\n\n{verdict(summary['methods'], [STAGES[0].name])}\n")
    print(f"report        {output / REPORT} (open it in a browser)\npicture       {output / PREVIEW}")
    print(f"figures       {output / SUMMARY}, {output / TABLE}, {output / EVALUATION}")
    print(f"predictions   {output}/*/{PREDICTIONS}/*.nii.gz beside {output / COHORT}/*.nii.gz")
    print(f"trainings     {runs} (tensorboard --logdir {output})\ntime          {summary['seconds']:.0f} s")


def say(text: str) -> None:
    """Announce a part of the demo."""
    print(f"\n== {text}", flush=True)
