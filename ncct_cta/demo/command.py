"""``python -m ncct_cta.demo``: the whole flow on phantoms, from an empty folder to a table and a picture.

It makes a cohort of synthetic patients, trains on some of them through the MONAI bundle (G, then G2 on the frozen G,
then G2 against a discriminator D), synthesises the CTA of the held-out ones, and compares the saved files with two
baselines that know no anatomy.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import infer, train
from ..common.command_line import command_parser
from ..common.errors import InputError, one_line_errors
from ..common.progress import is_quiet
from ..runs.names import BEST
from .plan import COHORT, EVALUATION, PREDICTIONS, PREVIEW, REPORT, STAGES, SUMMARY, TABLE, Stage

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


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("demo", __doc__)
    parser.add_argument("--output", type=Path, default="demo_output", metavar="DIR", help="default: ./demo_output")
    parser.add_argument("--seed", type=int, default=0, help="seed of the phantoms and of the training (default: 0)")
    parser.add_argument("--cases", type=int, default=14, help="synthetic patients, at least 3 (default: 14)")
    parser.add_argument("--steps", type=int, default=0, help="training steps of each stage (default: the stage's own)")
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
    from ..data import read_case_list  # PyTorch, MONAI and Ignite: what is wrong by now is said by now
    from ..phantom.cohort import write_cohort
    from .outcome import compare, report
    from .summary import means

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
    """Create the demo's folder. Files of an earlier demo in it are removed; other files are never touched.

    Raises:
        InputError: if it can't be written, or holds files of the same names that no demo wrote.
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


def say(text: str) -> None:
    """Print the heading of a part of the demo."""
    if not is_quiet():
        print(f"\n== {text}", flush=True)
