"""Train and evaluate from Python: what the commands do, with exceptions instead of exits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from ..common.errors import unwrapped
from ..common.interrupts import from_python
from ..evaluate.evaluation import run_evaluation
from ..evaluate.score_files import summary_of
from ..evaluate.sources import parse_source
from ..runs.names import CONFIG
from ..runs.trained_model import require_trusted
from ..settings.places import bundle_config, find_config
from ..settings.yaml_file import read_yaml
from ..train.command import ARCHITECTURE, TRAIN_YAML, settings_of_preset
from ..train.overrides import check_at_once, flatten
from ..train.workflow import SynthesisWorkflow

EpochCallback = Callable[[int, Mapping[str, float]], None]


def train(
    settings: Mapping[str, Any], *, preset: str = "", trust: bool = False, on_epoch: EpochCallback | None = None
) -> Path:
    """Train a network.

    Args:
        settings: sections (``{"train": {"lr": 1e-4}}``) or single settings (``{"train::lr": 1e-4}``).
        preset: the name or file of a preset that they are laid over.
        trust: also import a network class that the preset names and isn't this package's, which is code.
        on_epoch: called after each epoch with its number and its figures by the names of ``metrics.csv``.

    Returns:
        the run's folder, which ``Model.load`` takes.

    Raises:
        InputError: if a setting or a case can't be used, or the training had to stop.
    """
    content = read_yaml(find_config(preset)) if preset else {}
    given = flatten(settings_of_preset(content, preset)) | flatten(settings)
    checked = check_at_once(read_yaml(bundle_config(TRAIN_YAML)), given)
    if ARCHITECTURE not in flatten(settings):
        require_trusted(checked, preset, trust=trust)
    with from_python(), unwrapped():
        workflow = SynthesisWorkflow(logging_file=False, **given)
        workflow.initialize()
        if on_epoch is not None:
            run = workflow.parser.get_parsed_content("train")
            run.trainer.add_event_handler(Events.EPOCH_COMPLETED, _tell, on_epoch)
        workflow.run()
        workflow.finalize()
    return Path(checked.train.output_dir)


def evaluate(
    methods: Mapping[str, str | PathLike[str]], *, output: str | PathLike[str], **options: Any
) -> dict[str, Any]:
    """Score runs and folders of predictions beside baselines, and write tables and a report.

    Args:
        methods: a run's folder, or a folder of predictions, by the name that its scores get.
        output: the folder to write to.
        options: what else ``ncct_cta.evaluate.evaluation.run_evaluation`` takes: ``datalist``, ``split``, ``window``,
            ``jobs``, ``report``.

    Returns:
        what ``summary.json`` holds: the statistics of every method and score, the cases, remarks and failures.

    Raises:
        InputError: if nothing can be scored; a case that can't be is among the failures.
    """
    sources = [parse_source(f"{name}={path}", is_run=(Path(path) / CONFIG).is_file()) for name, path in methods.items()]
    with from_python():
        return summary_of(run_evaluation(sources, output=str(output), **options))


def _tell(engine: Engine, on_epoch: EpochCallback) -> None:
    on_epoch(engine.state.epoch, dict(engine.state.metrics))
