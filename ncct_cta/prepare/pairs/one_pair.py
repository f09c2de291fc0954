"""One pair, from two scans to the files of a case: read, align, resample once, measure, draw, write."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from ...common.errors import InputError
from ...common.files import to_json, write_text
from ...common.hu import to_int16_hu
from ...common.keys import CTA, LUNG, NCCT, VESSEL
from ...metrics import vessel_mask_from_pair
from ...volumes.nifti import Volume
from ...volumes.nifti_write import write_like, write_mask_like
from ...volumes.orientation import spacing_to_ras, to_ras
from ...volumes.reading import read_volume, to_sitk
from .alignment import Alignment, align
from .grids import common_box, crop, lung_mask_of, mask_array, mask_image, on_grid, resample_hu, with_spacing
from .pair_list import ScanSource
from .qc_pictures import draw_pair
from .quality import AFTER, ALL_LIMITS, BEFORE, MUTUAL_INFORMATION, as_it_came, contrast_scores, flags, measure

# Raise when the same settings give other files: cases are then prepared anew.
PREPARATION_VERSION = 3
QC_FOLDER = "qc"
IMAGES = (NCCT, CTA, LUNG, VESSEL)


@dataclass(frozen=True)
class PreparationSettings:
    """What shapes a case's files.

    Args:
        deformable: let a deformable registration follow the rigid one.
        keep_grid: write the NCCT's own grid, whole; otherwise it is cropped to the common field of view.
        spacing: resample to this voxel size in mm (right-left, front-back, feet-head); None: the NCCT's own.
        seed: of the registration's samples.
    """

    deformable: bool = True
    keep_grid: bool = False
    spacing: tuple[float, float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.keep_grid and self.spacing is not None:
            raise InputError(
                "both --keep-grid and --spacing are given; the NCCT's own grid has its own spacing: give one"
            )
        if self.spacing is not None and not all(0.1 <= mm <= 20 for mm in self.spacing):
            raise InputError(f"--spacing {' '.join(f'{mm:g}' for mm in self.spacing)}: expected 0.1 to 20 mm")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: it must not be negative")


@dataclass(frozen=True)
class Task:
    """A pair to prepare.

    Args:
        case: names its files.
        patient: whom it belongs to.
        ncct: the scan without contrast.
        cta: the scan with contrast.
        output: the folder of all cases.
        settings: what shapes the files.
    """

    case: str
    patient: str
    ncct: ScanSource
    cta: ScanSource
    output: Path
    settings: PreparationSettings

    @property
    def record(self) -> Path:
        """The file that says that the case is done; it is written last."""
        return self.output / QC_FOLDER / f"{self.case}.json"

    @property
    def picture(self) -> Path:
        """The picture for quality control."""
        return self.output / QC_FOLDER / f"{self.case}.png"

    def image(self, kind: str) -> Path:
        """The NIfTI file of ncct, cta, lung or vessel."""
        return self.output / f"{self.case}_{kind}.nii.gz"

    @property
    def files(self) -> list[Path]:
        """All that is written, the record last."""
        return [*(self.image(kind) for kind in IMAGES), self.picture, self.record]

    def digest(self) -> str:
        """Of the settings, and of the sources' names, sizes and times: other sources or settings, another digest."""
        content = [PREPARATION_VERSION, self.case, self.patient, asdict(self.settings)]
        content += [source.file_states() for source in (self.ncct, self.cta)]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()

    def finished(self) -> dict[str, Any] | None:
        """The record, if the case is done with these settings and sources."""
        try:
            record: dict[str, Any] = json.loads(self.record.read_text())
            done = record["digest"] == self.digest()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if done and all(path.is_file() for path in self.files) else None


@dataclass(frozen=True)
class PreparedPair:
    """A case on its final grid.

    Args:
        ncct: gives the grid; its header holds the geometry and nothing else.
        images: by kind, (X, Y, Z): int16 HU of ncct and cta, uint8 masks of lung and vessel.
        before: int16 HU of the CTA as it lay before registration, by the scanner's coordinates.
        scores: what ``quality.measure`` and ``quality.contrast_scores`` give.
    """

    ncct: Volume
    images: Mapping[str, np.ndarray]
    before: np.ndarray
    scores: Mapping[str, float]


def prepare_case(task: Task) -> None:
    """Prepare a pair: write its four images, its picture, and last its record.

    Raises:
        InputError: if a scan can't be used; the message names no path.
    """
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # cases run side by side, and one thread sums in one order
    digest = task.digest()
    try:
        ncct, cta = (read_volume(source.path, series=source.series) for source in (task.ncct, task.cta))
        write_case(task, digest, prepare_pair(ncct, cta, task.settings))
    except InputError as error:
        raise InputError(task.ncct.hide(task.cta.hide(str(error)))) from None


def prepare_pair(ncct: Volume, cta: Volume, settings: PreparationSettings) -> PreparedPair:
    """Align a CTA with its NCCT and resample it once, from its own grid, onto the NCCT's.

    Args:
        ncct: in HU.
        cta: in HU, on any grid.
        settings: what shapes the result.

    Raises:
        InputError: if there are no lungs in one of the two, or nothing that they have in common.
    """
    if settings.spacing is not None:
        ncct = with_spacing(ncct, settings.spacing)
    lungs = lung_mask_of(ncct), lung_mask_of(cta)
    fixed, moving = to_sitk(ncct), to_sitk(cta)
    fixed_lung, moving_lung = (mask_image(lung, ct) for lung, ct in zip(lungs, (fixed, moving), strict=True))
    alignment, scores = _align_if_it_helps(fixed, moving, fixed_lung, moving_lung, settings)
    transform = sitk.Transform() if alignment is None else alignment.transform
    common = common_box(fixed, moving, transform)  # checked with keep_grid too
    # A crop to everything keeps the grid and leaves behind what else the header says, a patient's name perhaps.
    cropped = crop(ncct, tuple(slice(0, n) for n in ncct.shape) if settings.keep_grid else common)
    grid = to_sitk(cropped)
    ncct_hu, cta_hu = to_int16_hu(cropped.array), resample_hu(moving, grid, transform)
    images = {
        NCCT: ncct_hu,
        CTA: cta_hu,
        LUNG: mask_array(on_grid(fixed_lung, grid)).astype(np.uint8),
        VESSEL: vessel_mask_from_pair(ncct_hu, cta_hu),
    }
    scores |= contrast_scores(list(zip((ncct, cta), lungs, strict=True)), images[VESSEL], cropped)
    before = cta_hu if alignment is None else resample_hu(moving, grid, sitk.Transform())
    return PreparedPair(cropped, images, before, scores)


def _align_if_it_helps(
    ncct: sitk.Image, cta: sitk.Image, ncct_lung: sitk.Image, cta_lung: sitk.Image, settings: PreparationSettings
) -> tuple[Alignment | None, dict[str, float]]:
    """The alignment and its scores; None where registration brings nothing: the scanner's coordinates then count.

    Of scans that lie right already it would move noise against noise, by parts of a voxel.
    """
    alignment = align(ncct, cta, ncct_lung, cta_lung, deformable=settings.deformable, seed=settings.seed)
    scores = measure(ncct, cta, ncct_lung, cta_lung, alignment)
    before, after = (scores[f"{MUTUAL_INFORMATION}_{stage}"] for stage in (BEFORE, AFTER))
    # Where the two didn't overlap before there was nothing to measure, and nothing to leave.
    if after > before or math.isnan(before):
        return alignment, scores
    return None, as_it_came(scores)


def write_case(task: Task, digest: str, prepared: PreparedPair) -> None:
    """Write a case's files beside their places, then rename them, the record last.

    A process that is killed leaves a folder ``.{case}.partial``, which the next one replaces, and only whole files.

    Raises:
        InputError: if the folder can't be written.
    """
    beside = task.output / f".{task.case}.partial"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        task.record.parent.mkdir(exist_ok=True)
        _write_files(replace(task, output=beside), digest, prepared)
        task.record.unlink(missing_ok=True)  # from here on the case isn't done, until the new record lies there
        for path in task.files:
            os.replace(beside / path.relative_to(task.output), path)
    except OSError as error:
        raise InputError(
            f"case {task.case}: can't be written ({error.strerror or error}); choose another --output"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_files(task: Task, digest: str, prepared: PreparedPair) -> None:
    for kind, image in prepared.images.items():
        if kind in (NCCT, CTA):
            note = "NCCT" if kind == NCCT else "CTA, aligned with the NCCT"
            write_like(image, prepared.ncct, task.image(kind), description=note)
        else:
            write_mask_like(image, prepared.ncct, task.image(kind), description=f"{kind} mask")
    task.picture.parent.mkdir(exist_ok=True)
    turned = [to_ras(image, prepared.ncct.affine) for image in (*prepared.images.values(), prepared.before)]
    (ncct_hu, orientation), (cta_hu, _), (lung, _), _, (before_hu, _) = turned
    spacing = spacing_to_ras(prepared.ncct.spacing, orientation)
    draw_pair(task.picture, task.case, ncct_hu, {BEFORE: before_hu, AFTER: cta_hu}, lung, spacing)
    record = {
        "case": task.case,
        "patient": task.patient,
        "digest": digest,
        "settings": asdict(task.settings),
        "shape": prepared.ncct.shape,
        "spacing_mm": prepared.ncct.spacing,
        "scores": prepared.scores,
        "flags": flags(prepared.scores, ALL_LIMITS),
    }
    write_text(to_json(record), task.record)
