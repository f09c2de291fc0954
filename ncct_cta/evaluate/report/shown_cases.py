"""The report's cases: their order and number, and what the page shows of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...common.panels import axial
from ...common.progress import progress_bar
from ...data import Case
from ..results import IDENTITY, Evaluation, Method
from ..score_files import VESSEL_ERROR
from . import plots
from .packed_volumes import CaseVolumes, PackedCase, fit_case, read_case
from .tables import figure, first_trained, shown_name

# With more cases in the viewer each would get too few bytes; more pictures nobody would open.
MOST_VIEWED, MOST_PICTURED = 8, 24
# Upper limit of a picture's bytes, so that the viewer's share is known before all pictures are drawn.
PICTURE_BYTES = 200_000
LEAST_CASE_BYTES = 2**14


@dataclass(frozen=True)
class RankedCase:
    """A case and its label on the page.

    Args:
        case: its files.
        rank: 0 is the worst.
        label: its name, and its error with the first trained method.
    """

    case: Case
    rank: int
    label: str


@dataclass(frozen=True)
class ShownCase:
    """What the page contains for a case.

    Args:
        ranked: the case.
        picture: a JPEG's data URI.
        packed: the volumes for the viewer; None if only the picture is shown.
        first_slice: of the packed volumes: where the viewer opens.
    """

    ranked: RankedCase
    picture: str
    packed: PackedCase | None
    first_slice: int = 0


def rank_cases(evaluation: Evaluation) -> list[RankedCase]:
    """All cases from the first trained method's worst in the vessels to its best; cases without a score last."""
    method = first_trained(evaluation.methods).name
    errors = {
        str(row["case"]): float(row.get(VESSEL_ERROR, math.nan)) for row in evaluation.rows if row["method"] == method
    }
    order = sorted(evaluation.cases, key=lambda case: (math.isnan(errors[case.name]), -errors[case.name]))
    known = sum(not math.isnan(error) for error in errors.values())
    labels = {known // 2: "median: "} if known > 2 else {}
    labels |= {0: "worst: "} if known > 1 else {}
    return [
        RankedCase(case, rank, f"{labels.get(rank, '')}{_named(case)}, {_error_words(errors[case.name], method)}")
        for rank, case in enumerate(order)
    ]


def _named(case: Case) -> str:
    return f"{case.name} (virtual)" if case.virtual else case.name


def viewed_cases(ranked: Sequence[RankedCase]) -> list[RankedCase]:
    """The worst, the median, then others, evenly spread over the ranks, at most ``MOST_VIEWED``."""
    # One place is the median's, which an even spread may pass over.
    count = len(ranked) if len(ranked) <= MOST_VIEWED else MOST_VIEWED - 1
    spread = {round(rank) for rank in np.linspace(0, len(ranked) - 1, count)}
    first = list(dict.fromkeys([0, next((found.rank for found in ranked if found.label.startswith("median")), 0)]))
    return [ranked[rank] for rank in [*first, *sorted(spread - set(first))]]


def show_cases(evaluation: Evaluation, room: int) -> Iterator[ShownCase]:
    """Read, draw and pack the cases one by one, those of the viewer first.

    Args:
        evaluation: what was found.
        room: bytes available for all cases.

    Raises:
        ValueError: if the room is too small.
    """
    ranked = rank_cases(evaluation)
    viewed = viewed_cases(ranked)
    others = [found for found in ranked if found not in viewed][: MOST_PICTURED - len(viewed)]
    if _share(room, len(viewed), len(viewed) + len(others)) < LEAST_CASE_BYTES:
        raise ValueError(f"{room} bytes for the pictures of {len(viewed)} cases are too few; raise the limit")
    trained = first_trained(evaluation.methods)
    names = [IDENTITY, *(method.name for method in evaluation.methods if method.name != IDENTITY)]
    for number, found in enumerate(progress_bar([*viewed, *others], desc="report", unit="case")):
        if number >= len(viewed):
            volumes = read_case(found.case, [trained], with_layers=False)
            yield ShownCase(found, _picture(found, volumes, len(volumes.images_hu) - 2, trained), None)
            continue
        volumes = read_case(found.case, evaluation.methods)
        picture = _picture(found, volumes, names.index(trained.name), trained)
        room -= len(picture)
        cases_left = len(viewed) - number
        packed = fit_case(volumes, _share(room, cases_left, cases_left - 1 + len(others)))
        room -= packed.size
        coarser = packed.shape[2] / volumes.mip_region.shape[2]
        yield ShownCase(found, picture, packed, int((volumes.picture_slice + 0.5) * coarser))


def _share(room: int, viewed: int, pictured: int) -> int:
    """Return the bytes available for the volumes of each remaining case."""
    return (room - PICTURE_BYTES * pictured) // viewed


def _picture(found: RankedCase, volumes: CaseVolumes, at: int, trained: Method) -> str:
    z = volumes.picture_slice
    ncct, prediction, cta = (axial(volumes.images_hu[i], z) for i in (0, at, -1))
    return plots.strip(
        ncct, prediction, cta,
        title=f"{found.case.name}, axial slice {z + 1} of {volumes.mip_region.shape[2]} of those that hold the body",
        name=shown_name(trained.name), aspect=volumes.spacing[1] / volumes.spacing[0],
    )  # fmt: skip


def _error_words(error: float, method: str) -> str:
    return f"vessels {figure(error, 1)} HU with {shown_name(method)}"
