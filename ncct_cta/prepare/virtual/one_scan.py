"""One contrast CT, from the scan to the files of a virtual case: read, take the iodine out, measure, draw, write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import SimpleITK as sitk

from ...common.errors import InputError
from ...common.hu import to_int16_hu
from ...common.keys import CTA, IGNORE, LUNG, NCCT, VESSEL
from ...volumes.nifti import Volume, read_mask
from ...volumes.nifti_write import write_like, write_mask_like
from ...volumes.orientation import from_ras, spacing_to_ras, to_ras
from ...volumes.reading import read_volume
from ..case_files import write_case
from ..limits import flags
from .blood import FoundBlood, find_blood
from .breathing import breathe
from .gates import LIMITS, measure
from .making import VirtualPair, make_pair
from .pictures import draw_virtual
from .task import VirtualTask
from .variety import random_of

Report = Callable[[str], None]


def prepare_scan(task: VirtualTask, report: Report = lambda _: None) -> None:
    """Make a virtual pair: write its images, its picture and, last, its record.

    Args:
        task: which scan, and where to.
        report: is told the step that comes next.

    Raises:
        InputError: if the scan can't be used; the message contains no path.
    """
    digest = task.digest()
    try:
        report("reading")
        cta = read_volume(task.cta.path, series=task.cta.series)
        hu, orientation = to_ras(to_int16_hu(cta.array), cta.affine)
        spacing = spacing_to_ras(cta.spacing, orientation)
        given = None if task.mask is None else to_ras(read_mask(task.mask, cta), cta.affine)[0] > 0
        report("finding the blood")
        found = find_blood(hu, spacing, given=given)
        report("taking the iodine out")
        pair = make_pair(hu, spacing, found, task.settings, random_of(task.settings.seed, task.case))
        report("measuring")
        scores = measure(hu.astype(np.float32), pair, found, spacing)
        report("writing")
        write_case(task, digest, lambda there: _write(there, cta, hu, orientation, pair, found, scores))
    except InputError as error:
        raise InputError(task.cta.hide(str(error))) from None


def _write(
    task: VirtualTask,
    cta: Volume,
    hu: np.ndarray,
    orientation: np.ndarray,
    pair: VirtualPair,
    found: FoundBlood,
    scores: dict[str, float],
) -> dict[str, Any]:
    """Write the images and the picture; return this way's part of the record."""
    ncct = to_int16_hu(pair.ncct)
    write_like(from_ras(ncct, orientation), cta, task.image(NCCT), description="virtual NCCT, made from the CTA")
    seen = from_ras(hu, orientation)
    if task.settings.breathing_mm[1] > 0:
        seen, field = breathe(cta, from_ras(found.lung, orientation), pair.drawn.breathing_mm)
        sitk.WriteImage(field, str(task.field), useCompression=True)
    write_like(seen, cta, task.image(CTA), description="CTA")
    for kind, mask in ((LUNG, found.lung), (VESSEL, found.blood), (IGNORE, pair.ignore)):
        write_mask_like(from_ras(mask, orientation), cta, task.image(kind), description=f"{kind} mask")
    draw_virtual(task.picture, task.case, ncct, hu, found.blood, spacing_to_ras(cta.spacing, orientation))
    return {
        "virtual": True,
        "empty": [] if pair.ignore.any() else [IGNORE],
        "drawn": asdict(pair.drawn),
        "blood_hu": {"enhanced": found.level_hu, "virtual": pair.drawn.blood_hu},
        "shape": cta.shape,
        "spacing_mm": cta.spacing,
        "scores": scores,
        "flags": flags(scores, LIMITS),
    }
