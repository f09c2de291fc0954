"""The CTA of a virtual pair moves as breathing does, and its field says how."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.scan_source import ScanSource
from ncct_cta.prepare.virtual.breathing import breathe
from ncct_cta.prepare.virtual.task import VirtualTask
from ncct_cta.prepare.virtual.variety import VirtualSettings, draw, random_of
from ncct_cta.volumes.itk_images import to_sitk
from ncct_cta.volumes.nifti import read_ct

SHAPE, SPACING, BREATH_MM = (96, 72, 40), (3.0, 3.0, 6.0), 8.0


def test_the_field_brings_the_cta_back(tmp_path: Path) -> None:
    case = make_case(5, shape=SHAPE, spacing=SPACING, noise=False)
    nib.save(nib.Nifti1Image(case.cta, case.affine), tmp_path / "cta.nii.gz")
    cta = read_ct(tmp_path / "cta.nii.gz")
    moved, field = breathe(cta, case.lung, BREATH_MM)
    vectors = sitk.GetArrayFromImage(field)
    assert 0.9 * BREATH_MM < np.linalg.norm(vectors, axis=-1).max() <= BREATH_MM + 0.01
    grid = to_sitk(cta)
    image = sitk.GetImageFromArray(moved.transpose(2, 1, 0))
    image.CopyInformation(grid)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))
    back = sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, sitk.sitkLinear, -1000)).transpose(2, 1, 0)
    inner = (slice(8, -8), slice(8, -8), slice(6, -6))
    errors = [np.abs(hu[inner].astype(np.float32) - case.cta[inner]).mean() for hu in (moved, back)]
    assert errors[1] < 0.5 * errors[0]


def test_breathing_does_not_change_what_else_is_drawn() -> None:
    still, moved = (
        draw(VirtualSettings(breathing_mm=(high, high)), random_of(0, "a"), 50.0) for high in (0.0, BREATH_MM)
    )
    assert moved.breathing_mm == BREATH_MM
    assert (still.blood_hu, still.noise) == (moved.blood_hu, moved.noise)


def test_the_field_is_among_a_cases_files_only_where_it_may_move(tmp_path: Path) -> None:
    source = ScanSource(tmp_path / "a.nii.gz", None, "a")
    for high, expected in ((0.0, False), (BREATH_MM, True)):
        task = VirtualTask("a", "a", tmp_path, VirtualSettings(breathing_mm=(0.0, high)), source)
        assert (tmp_path / "a_displacement.nii.gz" in task.files) == expected
