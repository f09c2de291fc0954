"""``python -m ncct_cta.evaluate``: is the synthetic CTA better than doing nothing, where, and by how much?

It scores predictions, NIfTI files in HU on the NCCT's grid, against the CTAs of a case list, next to two baselines: the
identity (the NCCT as it is) and the HU remap (the mean CTA value of each NCCT value in the training pairs).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from functools import partial

from ..common.command_line import add_scheduler, command_parser, require_path
from ..common.errors import one_line_errors
from ..common.files import to_json
from ..infer.options import RunningOptions, add_options, parse_options
from .sources import parse_source

OUTPUT = "./evaluation"
EPILOG = """\
for example
  %(prog)s --run runs/g --run runs/g2
  %(prog)s --datalist phantom --pred theirs=other_program/output --run G=runs/g --output comparison
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("evaluate", __doc__, epilog=EPILOG, allow_abbrev=False)
    add = parser.add_argument
    # One list for both, so that methods keep the order in which they are given.
    add("--pred", dest="sources", action="append", default=[], metavar="[NAME=]DIR", type=partial(_word, False, False),
        help="a folder of predictions, {case}_syncta.nii.gz or {case}.nii.gz, in HU; may be given again")  # fmt: skip
    add("--run", dest="sources", action="append", metavar="[NAME=]RUN_DIR", type=partial(_word, True, False),
        help="a run's folder: its cases are synthesised first; may be given again")  # fmt: skip
    add("--baseline", dest="sources", action="append", metavar="[NAME=]RUN_DIR", type=partial(_word, True, True),
        help="a run to compare the others with, such as a plain UNet's; may be given again")  # fmt: skip
    add("--datalist", default="", metavar="FILE_OR_FOLDER", help="the cases (default: those of the first run)")
    add("--split", default="", help="training, validation, testing or all (default: testing, or the first with a CTA; "
        "without a run, all cases of a folder that has no case list)")  # fmt: skip
    add("--output", default=OUTPUT, metavar="DIR", help=f"the folder to write to (default: {OUTPUT})")
    add("--window", type=float, nargs=2, metavar=("LOWER", "UPPER"),
        help="second range of PSNR and SSIM in HU (default: the first run's window)")  # fmt: skip
    add("--pred-window", type=float, nargs=2, metavar=("LOWER", "UPPER"),
        help="the values of every --pred lie in [-1, 1], which stand for these HU (default: they are HU)")  # fmt: skip
    add_options(parser, RunningOptions, of="of a run: ")
    add("--segment", default="", metavar="COMMAND", help="a segmentation of your own, such as 'my_program {input} "
        "{output}': run, without a shell, on every CTA, real and synthetic, and compared")  # fmt: skip
    add("--jobs", type=int, default=0, help="number of cases scored in parallel (default: as cores and memory allow)")
    add_scheduler(parser, "synthesises and scores the cases")
    add("--json", action="store_true", help="print the summary as JSON and nothing else")
    add("--no-report", action="store_true", help="don't write report.html")
    add("--debug", action="store_true", help="log where it happened if a case fails in a way that nobody foresaw")
    return parser


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate."""
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    sources = [parse_source(word, **kind) for kind, word in arguments.sources]
    if arguments.datalist:
        require_path(arguments.datalist)
    from .evaluation import (  # PyTorch, MONAI and Ignite: what is wrong by now is said by now
        require_all_scored,
        run_evaluation,
        show,
    )
    from .score_files import summary_of

    evaluation = run_evaluation(
        sources,
        datalist=arguments.datalist,
        split=arguments.split,
        output=arguments.output,
        window=arguments.window,
        pred_window=arguments.pred_window,
        running=parse_options(RunningOptions, arguments),
        jobs=arguments.jobs,
        report=not arguments.no_report,
        debug=arguments.debug,
        segment=arguments.segment,
        scheduler=arguments.scheduler,
    )
    if arguments.json:
        print(to_json(summary_of(evaluation)), end="")
    else:
        show(evaluation, arguments.output, report=not arguments.no_report)
    require_all_scored(evaluation)


def _word(is_run: bool, is_baseline: bool, word: str) -> tuple[dict[str, bool], str]:
    return {"is_run": is_run, "is_baseline": is_baseline}, word
