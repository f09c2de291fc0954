"""A training's log file, which is known only once the run's folder is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from logging.handlers import MemoryHandler
from pathlib import Path

from ..common.files import drop_link


@contextlib.contextmanager
def log_file_to_come(*, debug: bool = False) -> Iterator[Callable[[Path], None]]:
    """Keep this process' log, at debug level if wanted, until the function that it yields is given the file."""
    kept = MemoryHandler(capacity=1)  # without a target it keeps all, with one it passes all on

    def write_to(path: Path) -> None:
        drop_link(path)
        file = closing.enter_context(contextlib.closing(logging.FileHandler(path)))
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        kept.setTarget(file)
        kept.flush()

    package = logging.getLogger("ncct_cta")
    level = package.level
    logging.getLogger().addHandler(kept)
    if debug:
        package.setLevel(logging.DEBUG)
    with contextlib.ExitStack() as closing:
        try:
            yield write_to
        finally:
            package.setLevel(level)
            logging.getLogger().removeHandler(kept)
            kept.close()
