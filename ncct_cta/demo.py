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

from . import infer, train
from .data import read_case_list
from .data.phantom import write_cohort
from .demo_report import HU_REMAP, format_table, score_methods, verdict, write_hu_remap, write_json, write_preview
from .errors import InputError, one_line_errors
from .handlers.checkpoint import BEST

COHORT, PREDICTIONS, SUMMARY, TABLE, PREVIEW = "phantom", "predictions", "summary.json", "table.txt", "preview.png"
MARKER = "README.txt"
MARKER_TEXT = """\
Written by python -m ncct_cta.demo; another demo with the same --output replaces what is listed here.

phantom/          the synthetic patients: NCCT, CTA, lung and vessel masks as NIfTI, and datalist.json
{runs}
hu_remap/         what the HU remap baseline predicts for the held-out patients
summary.json      errors on the held-out patients; table.txt: the same as it was printed
preview.png       a held-out patient
"""
READING = """\
How to read it: the errors are means over patients that no network has seen. "identity" leaves the NCCT as it is: its
error in the vessels is the missing contrast, elsewhere it is the noise of two scans, which nobody can predict. "HU
remap" knows intensities and no anatomy: it gives each NCCT value the mean CTA value that it has in the training pairs.
A network that doesn't beat both in the vessels has learned nothing, and one that is worse than the identity in the body
without vessels changes what it should leave alone. Enhancement recovery is the share of the true contrast that the
prediction shows: 1 is perfect, 0 is none. G2 refines what the frozen G gave; against D it learns to look like a real
CTA, noise included, which nobody can predict voxel by voxel: its sharpness comes nearer to 1 and its errors may rise."""


@dataclass(frozen=True)
class Stage:
    """A training of the demo and its inference.

    Args:
        name: in the table and in summary.json.
        folder: of the run, in the demo's folder.
        preset: what it is trained from.
        steps: optimiser steps.
        epochs: into how many epochs, each with a validation, the steps are divided.
        settings: further settings, ``section::key``.
        starts_from: settings that take an earlier stage's best checkpoint, with that stage's folder, for example
            ``{"train::pretrained_G": "g"}``.
    """

    name: str
    folder: str
    preset: str
    steps: int
    epochs: int = 5
    settings: Mapping[str, Any] = field(default_factory=dict)
    starts_from: Mapping[str, str] = field(default_factory=dict)


# With the default fusion, the product, G2 needs far longer than a demo to find again what G knew (benchmarks/fusion.py).
CONCAT = {"refine::fusion": "concat"}
FROM_G = {"train::pretrained_G": "g"}
STAGES = (
    Stage("G", "g", "g_small", steps=900),
    Stage("G2", "g2", "g2_small", steps=300, epochs=2, settings=CONCAT, starts_from=FROM_G),
    Stage(
        "G2 + D", "g2_gan", "g2_gan_small", steps=200, epochs=2, settings=CONCAT,
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
    datalist = write_cohort(output / COHORT, cases=options.cases, seed=options.seed)
    for stage in STAGES:
        run_stage(stage, output, datalist, seed=options.seed, steps=options.steps or stage.steps)
    say("comparing the saved files")
    summary = {**compare(datalist, output), "seed": options.seed, "seconds": round(time.monotonic() - start, 1)}
    report(summary, output)


def prepare_folder(output: Path) -> None:
    """Make the demo's folder; what an earlier demo left in it goes, other files are never touched.

    Raises:
        InputError: if it can't be written, or holds something of the same name that no demo wrote.
    """
    replaced = [COHORT, HU_REMAP, *(stage.folder for stage in STAGES), SUMMARY, TABLE, PREVIEW]
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
        **stage.settings,
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


def compare(datalist: Path, output: Path) -> dict[str, Any]:
    """Score every method on the held-out patients, draw one of them, and describe the cohort; plain data."""
    splits = read_case_list(datalist)
    held_out = splits["testing"]
    write_hu_remap(splits["training"], held_out, output / HU_REMAP)
    folders = {stage.name: output / stage.folder / PREDICTIONS for stage in STAGES}
    scores = score_methods(held_out, {HU_REMAP: output / HU_REMAP, **folders})
    write_preview(held_out[0], folders[STAGES[-1].name], output / PREVIEW)
    return {
        "methods": scores,
        "cases": len(held_out),
        "cohort": {split: [case.name for case in cases] for split, cases in splits.items()},
    }


def report(summary: Mapping[str, Any], output: Path) -> None:
    """Write the summary and the table, and tell the user what there is to see."""
    table = format_table(summary["methods"], summary["cases"])
    targets = verdict(summary["methods"], [STAGES[0].name])
    write_json(summary, output / SUMMARY)
    (output / TABLE).write_text(table)
    runs = ", ".join(f"{output / stage.folder}" for stage in STAGES)
    print(f"\n{table}\n{READING}\n\n{targets}\n")
    print(f"picture       {output / PREVIEW}\nfigures       {output / SUMMARY}, {output / TABLE}")
    print(f"predictions   {output}/*/{PREDICTIONS}/*.nii.gz beside {output / COHORT}/*.nii.gz")
    print(f"trainings     {runs} (tensorboard --logdir {output})\ntime          {summary['seconds']:.0f} s")


def say(text: str) -> None:
    """Announce a part of the demo."""
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    main()
