"""TensorBoard's curves of a run in one file, also after it was resumed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch.utils.tensorboard import SummaryWriter


class Drawn(NamedTuple):
    """A point of a curve."""

    name: str
    value: float
    step: int
    seconds: float


def writer_of(folder: Path, last_step: int) -> SummaryWriter:
    """A writer into a folder, whose file holds what earlier files hold up to a step; those are removed.

    Args:
        folder: of the run's event files; made if missing.
        last_step: of the checkpoint that the run goes on from; 0: the run is new.
    """
    earlier = sorted(folder.glob("events.out.tfevents.*"))
    points = _points(folder, last_step) if earlier and last_step else []
    writer = SummaryWriter(str(folder))
    for point in points:
        writer.add_scalar(point.name, point.value, point.step, walltime=point.seconds)
    if points:
        writer.flush()  # a full disk ends it here, before what they were read from is removed
    for path in earlier:
        path.unlink(missing_ok=True)
    return writer


def _points(folder: Path, last_step: int) -> list[Drawn]:
    """All points up to a step; a file that a killed run has cut short is read as far as it goes."""
    # TensorBoard takes a second to import, which a new run needn't wait for.
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0}, purge_orphaned_data=False)
    events.Reload()
    newest: dict[tuple[str, int], Drawn] = {}
    for name in events.Tags()[SCALARS]:
        for event in events.Scalars(name):
            if event.step <= last_step:
                newest[name, event.step] = Drawn(name, event.value, event.step, event.wall_time)
    return sorted(newest.values(), key=lambda point: point.step)
