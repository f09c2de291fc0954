"""What MONAI's MLflow handlers, which ``--tracking mlflow`` adds to a training, don't know of a run by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler
from monai.utils import path_to_sqlite_uri

from ..common.errors import InputError, one_line_errors
from ..common.folders import writable_folder
from ..common.keys import LOSS
from ..common.names import shortened
from ..runs.names import BEST, CONFIG, LAST, METRICS, PREVIEWS
from ..settings import Settings, TrainConfig

DATABASE = "mlruns.db"


@one_line_errors()
def database_of(train: TrainConfig) -> str:
    """Where a run is tracked: the URI of an SQLite database in its folder, which is made if it isn't there.

    MONAI keeps the run's files in ``mlruns`` beside it. ``MLFLOW_TRACKING_URI`` in the environment takes precedence.

    Raises:
        InputError: if MLflow isn't installed; the folder holds a run that isn't resumed: it would be moved aside, and
            the open database with it; or there is a link in it: MLflow would copy what it points at, or write there.
    """
    if find_spec("mlflow") is None:
        raise InputError("MLflow isn't installed, which --tracking mlflow needs; pip install 'ncct-cta[mlflow]'")
    folder = Path(train.output_dir)
    if (folder / LAST).exists() and not train.resume:
        raise InputError(
            f"{folder} holds a run already, expected a new folder to track a run in; set another train.output_dir, or "
            "go on with --resume"
        )
    writable_folder(folder)
    link = next((path for path in sorted(folder.rglob("*")) if path.is_symlink()), None)
    if link is not None:
        raise InputError(f"{link} is a link, expected a run's own files; remove it, or leave out --tracking")
    return path_to_sqlite_uri(folder / DATABASE)


def complete_tracking(handlers: Iterable[object], trainer: Engine, settings: Settings) -> None:
    """Let MONAI's MLflow handlers read this trainer's loss, and keep the run's settings and files.

    Args:
        handlers: all of the trainer; those that aren't MLflow's are left alone.
        trainer: the engine that they are attached to.
        settings: of the run; each is logged as ``section.key``.
    """
    folder = Path(settings.train.output_dir)
    for handler in handlers:
        if isinstance(handler, MLFlowHandler):
            handler.output_transform = itemgetter(LOSS)
            handler.artifacts = tuple(folder / name for name in (CONFIG, METRICS, PREVIEWS, BEST))
            # Before anything is logged, and before the files are copied, which is after the last epoch: the database
            # may be a stranger's.
            trainer.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, _require_own_place, handler, folder)
            trainer.add_event_handler(Events.STARTED, _log_settings, handler, settings)


def _require_own_place(engine: Engine, handler: MLFlowHandler, folder: Path) -> None:
    """Refuse a database in a run's folder that has the run's files copied elsewhere; a server may keep them anywhere.

    Raises:
        InputError: naming the place.
    """
    assert handler.cur_run is not None  # for the type checker: the handler's own start comes first
    if not str(handler.client.tracking_uri).startswith("sqlite:"):
        return
    given = handler.client.get_run(handler.cur_run.info.run_id).info.artifact_uri
    place = urlsplit(given)
    is_local = place.scheme in ("", "file") and place.netloc in ("", "localhost")
    if not (is_local and Path(url2pathname(place.path)).resolve().is_relative_to(folder.resolve())):
        raise InputError(
            f"{folder / DATABASE}: keeps its files in {shortened(given)}, expected a place in {folder}; remove it to "
            "track from here on anew"
        )


def _log_settings(engine: Engine, handler: MLFlowHandler, settings: Settings) -> None:
    """Log the settings that aren't logged yet: MLflow refuses to change those of a run that is resumed."""
    assert handler.cur_run is not None  # for the type checker: the handler's own start comes first
    run = handler.cur_run.info.run_id
    logged = handler.client.get_run(run).data.params
    for section, values in settings.as_plain().items():
        for key, value in values.items():
            if (name := f"{section}.{key}") not in logged:
                handler.client.log_param(run, name, value)
