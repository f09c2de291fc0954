"""One contrast CT, from the scan to the files of a virtual case: read, take the iodine out, measure, draw, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...common.coarse import coarse_grid
from ...common.errors import InputError
from ...common.hu import to_int16_hu
from ...common.keys import CTA, IGNORE, LUNG, NCCT, VESSEL
from ...metrics import body_mask
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

AROUND_MM = 20.0
GRID_MM = 4.0  # the patient is found on

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
        box = around_patient(hu, spacing)
        near = np.ascontiguousarray(hu[box])
        report("finding the blood")
        found = find_blood(near, spacing, given=None if given is None else given[box])
        report("taking the iodine out")
        pair = make_pair(near, spacing, found, task.settings, random_of(task.settings.seed, task.case))
        report("measuring")
        scores = measure(near.astype(np.float32), pair, found, spacing)
        del near
        report("writing")
        write_case(task, digest, lambda there: _write(there, cta, hu, box, orientation, pair, found, scores))
    except InputError as error:
        raise InputError(task.cta.hide(str(error))) from None


def around_patient(hu: np.ndarray, spacing: Sequence[float]) -> tuple[slice, ...]:
    """The box, in the slices' plane, of the patient with ``AROUND_MM`` of air: the rest would only cost time.

    Args:
        hu: (X, Y, Z) HU, axes towards right, anterior and superior.
        spacing: voxel edges in mm.

    Returns:
        The slices of the three axes; all of the scan where there is no patient.
    """
    steps, mm = coarse_grid(spacing, GRID_MM)
    sides = ndimage.find_objects(body_mask(hu[tuple(slice(None, None, step) for step in steps)], mm).view(np.uint8))
    if not sides:
        return (slice(None),) * 3
    box = [
        slice(max(0, round(side.start * step - AROUND_MM / edge)), round(side.stop * step + AROUND_MM / edge))
        for side, step, edge in zip(sides[0][:2], steps, spacing, strict=False)
    ]
    return (*box, slice(None))


def _write(
    task: VirtualTask,
    cta: Volume,
    hu: np.ndarray,
    box: tuple[slice, ...],
    orientation: np.ndarray,
    pair: VirtualPair,
    found: FoundBlood,
    scores: dict[str, float],
) -> dict[str, Any]:
    """Write the images and the picture; return this way's part of the record."""
    ncct = hu.copy()
    ncct[box] = to_int16_hu(pair.ncct)
    lung, blood, ignore = (_whole(mask, box, hu.shape) for mask in (found.lung, found.blood, pair.ignore))
    write_like(from_ras(ncct, orientation), cta, task.image(NCCT), description="virtual NCCT, made from the CTA")
    seen = from_ras(hu, orientation)
    if task.settings.breathing_mm[1] > 0:
        seen, field = breathe(cta, from_ras(lung, orientation), pair.drawn.breathing_mm)
        sitk.WriteImage(field, str(task.field), useCompression=True)
    write_like(seen, cta, task.image(CTA), description="CTA")
    for kind, mask in ((LUNG, lung), (VESSEL, blood), (IGNORE, ignore)):
        write_mask_like(from_ras(mask, orientation), cta, task.image(kind), description=f"{kind} mask")
    draw_virtual(task.picture, task.case, ncct, hu, blood, spacing_to_ras(cta.spacing, orientation))
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


def _whole(mask: np.ndarray, box: tuple[slice, ...], shape: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, bool)
    whole[box] = mask
    return whole
