"""What a pair's folder gets: its images, its picture, and what its record says."""

from __future__ import annotations

from typing import Any

from ...common.keys import CTA, NCCT
from ...volumes.nifti_write import write_like, write_mask_like
from ...volumes.orientation import spacing_to_ras, to_ras
from ..limits import flags
from .prepared_pair import PreparedPair
from .qc_pictures import draw_pair
from .quality import AFTER, ALL_LIMITS, BEFORE
from .task import Task


def write_pair(task: Task, prepared: PreparedPair) -> dict[str, Any]:
    """Write a pair's images and picture; return its part of the record."""
    for kind, image in prepared.images.items():
        if kind in (NCCT, CTA):
            note = "NCCT" if kind == NCCT else "CTA, aligned with the NCCT"
            write_like(image, prepared.ncct, task.image(kind), description=note)
        else:
            write_mask_like(image, prepared.ncct, task.image(kind), description=f"{kind} mask")
    turned = [to_ras(image, prepared.ncct.affine) for image in (*prepared.images.values(), prepared.before)]
    (ncct_hu, orientation), (cta_hu, _), (lung, _), _, (before_hu, _) = turned
    spacing = spacing_to_ras(prepared.ncct.spacing, orientation)
    draw_pair(task.picture, task.case, ncct_hu, {BEFORE: before_hu, AFTER: cta_hu}, lung, spacing)
    return {
        "shape": prepared.ncct.shape,
        "spacing_mm": prepared.ncct.spacing,
        "scores": prepared.scores,
        "flags": flags(prepared.scores, ALL_LIMITS),
    }
