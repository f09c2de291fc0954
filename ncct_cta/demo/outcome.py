"""What came of the demo: scores, report, picture, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common.files import to_json, write_text
from ..data import Case
from ..engines.inference import OUTPUT_SUFFIX
from ..evaluate.comparison import evaluate
from ..evaluate.evaluation import require_all_scored
from ..evaluate.report.page import write_report
from ..evaluate.results import Evaluation, Method
from ..evaluate.score_files import format_table
from .plan import COHORT, EVALUATION, PREDICTIONS, PREVIEW, REPORT, STAGES, SUMMARY, TABLE
from .summary import verdict, write_preview

READING = """\
How to read it: the errors are means over patients that no network has seen. "identity" leaves the NCCT as it is: its
error in the vessels is the missing contrast, elsewhere it is the noise of two scans, which nobody can predict. "HU
remap" knows intensities and no anatomy: it gives each NCCT value the mean CTA value that it has in the training pairs.
A network that doesn't beat both in the vessels has learned nothing, and one that is worse than the identity in the body
without vessels changes what it should leave alone. Enhancement recovery is the share of the true contrast that the
prediction shows: 1 is perfect, 0 is none. G2 refines what the frozen G gave; against D it learns to look like a real
CTA, noise included, which nobody can predict voxel by voxel: its errors may rise, and noise is no detail. False vessels
were invented, missed ones are more than 2 mm from any that the prediction shows. "Shape" is the error in the vessels
that one gain a patient can't mend."""


def compare(training: Sequence[Case], held_out: Sequence[Case], output: Path) -> Evaluation:
    """Score every stage on the held-out patients, write the report, and draw one of them."""
    methods = []
    for stage in STAGES:
        folder = output / stage.folder
        files = {case.name: folder / PREDICTIONS / f"{case.name}{OUTPUT_SUFFIX}" for case in held_out}
        methods.append(Method(stage.name, files, run=folder))
    evaluation = evaluate(held_out, methods, output=output / EVALUATION, training=training)
    require_all_scored(evaluation)
    write_report(evaluation, output / REPORT)
    first = held_out[0]
    write_preview(first, {method.name: method.predictions[first.name] for method in methods}, output / PREVIEW)
    return evaluation


def report(evaluation: Evaluation, summary: Mapping[str, Any], output: Path) -> None:
    """Write the summary and the table, and tell the user where the results are."""
    table = format_table(evaluation)
    write_text(to_json(summary), output / SUMMARY)
    write_text(table, output / TABLE)
    runs = ", ".join(f"{output / stage.folder}" for stage in STAGES)
    print(f"\n{table}\n{READING}\n\n{verdict(summary['methods'], [STAGES[0].name])}\n")
    print(f"report        {output / REPORT} (open it in a browser)\npicture       {output / PREVIEW}")
    print(f"figures       {output / SUMMARY}, {output / TABLE}, {output / EVALUATION}")
    print(f"predictions   {output}/*/{PREDICTIONS}/*.nii.gz beside {output / COHORT}/*.nii.gz")
    print(f"trainings     {runs} (tensorboard --logdir {output})\ntime          {summary['seconds']:.0f} s")
