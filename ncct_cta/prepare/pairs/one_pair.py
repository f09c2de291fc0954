"""One pair, from two scans to the files of a case: read, align, resample once, measure, draw, write."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from ...common.errors import InputError
from ...common.hu import to_int16_hu
from ...common.keys import CTA, LUNG, NCCT, VESSEL
from ...metrics import vessel_mask_from_pair
from ...volumes.itk_images import to_sitk
from ...volumes.nifti import Volume
from ...volumes.reading import read_volume
from ..case_files import write_case
from .alignment import Alignment, align
from .grids import common_box, crop, lung_mask_of, mask_array, mask_image, on_grid, resample_hu, with_spacing
from .pair_files import write_pair
from .prepared_pair import PreparedPair
from .quality import AFTER, BEFORE, MUTUAL_INFORMATION, as_it_came, contrast_scores, measure
from .task import PreparationSettings, Task

Report = Callable[[str], None]


def prepare_case(task: Task, report: Report = lambda _: None) -> None:
    """Prepare a pair: write its four images, its picture and, last, its record.

    Args:
        task: which pair, and where to.
        report: is told the step that comes next.

    Raises:
        InputError: if a scan can't be used; the message contains no path.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # cases run side by side, and one thread sums in one order
    digest = task.digest()
    try:
        report("reading")
        ncct, cta = (read_volume(source.path, series=source.series) for source in (task.ncct, task.cta))
        prepared = prepare_pair(ncct, cta, task.settings, report)
        report("writing")
        write_case(task, digest, lambda there: write_pair(there, prepared))
    except InputError as error:
        raise InputError(task.ncct.hide(task.cta.hide(str(error)))) from None


def prepare_pair(
    ncct: Volume, cta: Volume, settings: PreparationSettings, report: Report = lambda _: None
) -> PreparedPair:
    """Align a CTA with its NCCT and resample it once, from its own grid, onto the NCCT's.

    Args:
        ncct: in HU.
        cta: in HU, on any grid.
        settings: what shapes the result.
        report: is told the step that comes next.

    Raises:
        InputError: if one of them shows no lungs, or they have nothing in common.
    """
    if settings.spacing is not None:
        ncct = with_spacing(ncct, settings.spacing)
    report("finding the lungs")
    lungs = lung_mask_of(ncct), lung_mask_of(cta)
    fixed, moving = to_sitk(ncct), to_sitk(cta)
    fixed_lung, moving_lung = (mask_image(lung, ct) for lung, ct in zip(lungs, (fixed, moving), strict=True))
    alignment, scores = _align_if_it_helps((fixed, moving, fixed_lung, moving_lung), settings, report)
    transform = sitk.Transform() if alignment is None else alignment.transform
    report("resampling")
    common = common_box(fixed, moving, transform)  # checked with keep_grid too
    # Cropping to the whole grid keeps the grid but drops the rest of the header, which may contain a patient's name.
    cropped = crop(ncct, tuple(slice(0, n) for n in ncct.shape) if settings.keep_grid else common)
    grid = to_sitk(cropped)
    ncct_hu, cta_hu = to_int16_hu(cropped.array), resample_hu(moving, grid, transform)
    images = {
        NCCT: ncct_hu,
        CTA: cta_hu,
        LUNG: mask_array(on_grid(fixed_lung, grid)).astype(np.uint8),
        VESSEL: vessel_mask_from_pair(ncct_hu, cta_hu, cropped.spacing),
    }
    scores |= contrast_scores(list(zip((ncct, cta), lungs, strict=True)), images[VESSEL], cropped)
    before = cta_hu if alignment is None else resample_hu(moving, grid, sitk.Transform())
    return PreparedPair(cropped, images, before, scores)


def _align_if_it_helps(
    images: tuple[sitk.Image, sitk.Image, sitk.Image, sitk.Image], settings: PreparationSettings, report: Report
) -> tuple[Alignment | None, dict[str, float]]:
    """The alignment and its scores; None where registration brings nothing: the scanner's coordinates then count.

    For scans that are already aligned it would only fit noise, by fractions of a voxel.

    Args:
        images: NCCT, CTA and their lung masks.
        settings: whether a field follows the rigid transform, and the seed.
        report: is told the step that comes next.
    """
    report("registering")
    alignment = align(*images, deformable=settings.deformable, seed=settings.seed)
    report("measuring")
    scores = measure(*images, alignment)
    before, after = (scores[f"{MUTUAL_INFORMATION}_{stage}"] for stage in (BEFORE, AFTER))
    # If they didn't overlap before, there was nothing to measure and no position to keep.
    if after > before or math.isnan(before):
        return alignment, scores
    return None, as_it_came(scores)
