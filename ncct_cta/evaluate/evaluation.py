"""One evaluation: cases chosen, what is missing synthesised, all scored, tables and report written."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..common.errors import InputError, one_line_errors
from ..common.folders import writable_folder
from ..common.hu import INT16_RANGE, HUWindow
from ..infer.options import RunningOptions
from ..runs.record import read_record
from ..settings.whole import Settings
from .command import OUTPUT
from .comparison import evaluate
from .failures import Failure, require_none
from .predictions import predict, seen_in_training, training_pairs
from .report.page import write_report
from .results import DEFAULT_WINDOW, Evaluation
from .score_files import SCORES, SUMMARY, SUMMARY_JSON, WIDTH, format_table
from .segmentation import Segmentation
from .selection import CaseSelection, choose_cases, find_predictions, listed, require_unique_names
from .sources import MethodSource, parse_source
from .uncertainty.findings import in_words
from .uncertainty.judging import judge_uncertainty

PREDICTIONS, REPORT = "predictions", "report.html"


@one_line_errors()
def run_bundle(
    *,
    pred: str | Sequence[str] = (),
    run: str | Sequence[str] = (),
    baseline: str | Sequence[str] = (),
    running: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """What the bundle's ``evaluate.yaml`` runs: one or several of each kind of method; see ``run_evaluation``."""
    sources = [
        parse_source(word, is_run=is_run, is_baseline=is_baseline)
        for words, is_run, is_baseline in ((pred, False, False), (run, True, False), (baseline, True, True))
        for word in ([words] if isinstance(words, str) else words)
        if word
    ]
    if not sources:  # MONAI silently drops keys that the YAML doesn't use, such as the command's --run
        raise InputError("neither pred nor run_dir is given; give folders of predictions, of trainings, or both")
    evaluation = run_evaluation(sources, running=RunningOptions.parse(running), **options)
    show(evaluation, options["output"], report=options["report"])
    require_all_scored(evaluation)


def run_evaluation(
    sources: Sequence[MethodSource],
    *,
    datalist: str = "",
    split: str = "",
    output: str = OUTPUT,
    window: Sequence[float] | None = None,
    pred_window: Sequence[float] | None = None,
    running: RunningOptions | None = None,
    jobs: int = 0,
    report: bool = True,
    debug: bool = False,
    segment: str = "",
    scheduler: str = "",
) -> Evaluation:
    """Choose the cases, synthesise what is missing, score, and write tables and report.

    Args:
        sources: the methods.
        datalist: a case list or a folder of cases; empty: the first run's.
        split: split of the list; empty: testing, or otherwise the first split with a CTA; see ``choose_cases``.
        output: the folder to write to.
        window: (lower, upper) of the second range of PSNR and SSIM in HU; None: the first run's window.
        pred_window: (lower, upper) in HU that -1 and 1 stand for in every folder of predictions; None: they are in HU.
        running: how runs synthesise; None: as they were trained.
        jobs: cases scored side by side; 0: as many as cores and memory allow.
        report: whether to write ``report.html``.
        segment: a command that segments ``{input}`` into ``{output}``, run on every CTA, real and synthetic.
        scheduler: of a dask cluster that synthesises and scores the cases instead; see ``cluster.run_on_cluster``.
        debug: whether to log where it happened if a case fails in a way that nobody foresaw.

    Raises:
        InputError: if any input can't be used.
    """
    if debug:
        logging.getLogger("ncct_cta").setLevel(logging.DEBUG)
    if jobs < 0:
        raise InputError(f"jobs is {jobs}, expected 0 (automatic) or more")
    segmentation = Segmentation.parse(segment) if segment else None
    require_unique_names(sources)
    runs = {source.name: Settings.parse(read_record(source.path)) for source in sources if source.is_run}
    chosen = _choose(datalist, split, next(iter(runs.values()), None))
    folder = writable_folder(output)
    second_range = _window(window, runs)
    scaled_from = None if pred_window is None else _hu_window("pred_window", pred_window)
    failures: dict[str, Failure] = {}
    methods = []
    for source in sorted(sources, key=lambda source: not source.is_baseline):
        cases = [case for case in chosen.cases if case.name not in failures]
        if source.is_run:
            own = folder / PREDICTIONS / source.name
            methods.append(predict(source, cases, own, running or RunningOptions(), failures, scheduler=scheduler))
        else:
            methods.append(find_predictions(source.name, source.path, cases, window=scaled_from))
    cases = [case for case in chosen.cases if case.name not in failures]
    seen = [remark for name, settings in runs.items() for remark in seen_in_training(name, settings, chosen.cases)]
    remarks = [*chosen.remarks, *seen]
    if window is None:
        remarks += _on_windows(runs)
    evaluation = evaluate(
        cases, methods, output=folder, training=chosen.training, window=second_range, jobs=jobs, remarks=remarks,
        failures=failures, segmentation=segmentation, scheduler=scheduler,
    )  # fmt: skip
    evaluation = replace(evaluation, uncertainty=judge_uncertainty(evaluation, chosen.validation, folder))
    if report:
        write_report(evaluation, folder / REPORT)
    return evaluation


def show(evaluation: Evaluation, output: str, *, report: bool) -> None:
    """Print the table and the paths of the results."""
    folder = Path(output)
    print(format_table(evaluation))
    for found in evaluation.uncertainty:
        print(textwrap.fill(in_words(found), WIDTH), end="\n\n")
    print(f"figures  {folder / SUMMARY}, {folder / SUMMARY_JSON}, of each case {folder / SCORES}")
    if report:
        print(f"report   {folder / REPORT}")


def require_all_scored(evaluation: Evaluation) -> None:
    """Raise an ``InputError`` that names the cases that could not be scored, if there are any."""
    require_none(evaluation.failures, len(evaluation.cases) + len(evaluation.failures))


def _choose(datalist: str, split: str, run: Settings | None) -> CaseSelection:
    """Choose the cases; a folder is split as in the first run."""
    if run is None:
        if not datalist:
            raise InputError("neither --datalist nor --run is given; say which cases to score")
        return choose_cases(datalist, split)
    if not datalist and not Path(run.data.datalist).exists():
        raise InputError(f"the case list of the run, {run.data.datalist}, isn't there; give the cases with --datalist")
    return choose_cases(
        datalist or run.data.datalist,
        split,
        has_run=True,
        val_fraction=run.data.val_fraction,
        seed=run.train.seed,
        run_training=training_pairs(run),
    )


def _window(given: Sequence[float] | None, runs: Mapping[str, Settings]) -> HUWindow:
    if given is None:
        return HUWindow(*next(iter(runs.values())).data.window) if runs else DEFAULT_WINDOW
    return _hu_window("window", given)


def _hu_window(name: str, given: Sequence[float]) -> HUWindow:
    low, high = INT16_RANGE  # of what a CT file holds
    if len(given) != 2 or not low <= given[0] < given[0] + 1 <= given[1] <= high:
        raise InputError(f"{name} is {list(given)}, expected the lower and the upper end in HU, in [{low}, {high}]")
    return HUWindow(*given)


def _on_windows(runs: Mapping[str, Settings]) -> list[str]:
    """A remark if a run was trained in another HU window than the first, whose window all are scored in."""
    windows = {name: "[{:g}, {:g}]".format(*settings.data.window) for name, settings in runs.items()}
    first = next(iter(windows.values()), "")
    others = [f"{name} ({window})" for name, window in windows.items() if window != first]
    remark = f"PSNR and SSIM are also taken in the first run's window, {first} HU; not trained in it: {listed(others)}."
    return [remark] if others else []
