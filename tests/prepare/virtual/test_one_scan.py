"""A virtual pair is made of the patient: the air around neither takes part in it nor is changed."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from ncct_cta.common.hu import AIR_HU
from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.scan_source import ScanSource
from ncct_cta.prepare.virtual.one_scan import around_patient, prepare_scan
from ncct_cta.prepare.virtual.task import VirtualTask
from ncct_cta.prepare.virtual.variety import VirtualSettings

SPACING = (3.0, 3.0, 6.0)
AIR = 12  # voxels that are added on the four sides of the slices
KINDS = ("ncct", "cta", "lung", "vessel", "ignore")


def made(folder: Path, cta: np.ndarray, affine: np.ndarray) -> dict[str, np.ndarray]:
    """The images that ``prepare virtual`` makes of a scan."""
    folder.mkdir()
    nib.save(nib.Nifti1Image(cta, affine), folder / "scan.nii.gz")
    task = VirtualTask("a", "a", folder, VirtualSettings(), ScanSource(folder / "scan.nii.gz", None, "a"))
    prepare_scan(task)
    return {kind: np.asarray(nib.load(folder / f"a_{kind}.nii.gz").dataobj) for kind in KINDS}


def test_air_around_the_patient_changes_nothing(tmp_path: Path) -> None:
    case = make_case(5, shape=(96, 72, 40), spacing=SPACING)
    wide = [(AIR, AIR), (AIR, AIR), (0, 0)]
    # Enough air on every side of either scan that the box with its margin lies within it.
    roomy = np.pad(case.cta, wide, constant_values=AIR_HU)
    roomier = np.pad(roomy, wide, constant_values=AIR_HU)
    one, other = made(tmp_path / "one", roomy, case.affine), made(tmp_path / "other", roomier, case.affine)
    for kind, image in one.items():
        np.testing.assert_array_equal(other[kind][AIR:-AIR, AIR:-AIR], image, err_msg=kind)
        assert image.any() or kind == "ignore"
    away = other["ncct"][: AIR // 2]
    np.testing.assert_array_equal(away, AIR_HU)


def test_the_box_holds_the_patient_and_little_more() -> None:
    case = make_case(5, shape=(96, 72, 40), spacing=SPACING)
    hu = np.pad(case.cta, [(30, 30), (30, 30), (0, 0)], constant_values=AIR_HU)
    box = around_patient(hu, SPACING)
    tissue = np.argwhere(hu > -200)[:, :2]
    for side, low, high in zip(box, tissue.min(0), tissue.max(0) + 1, strict=False):
        assert 0 < side.start <= low
        assert high <= side.stop
        assert side.stop - side.start < high - low + 2 * 30
    assert box[2] == slice(None)


def test_without_a_patient_the_box_is_the_scan() -> None:
    assert around_patient(np.full((20, 20, 8), AIR_HU, np.int16), SPACING) == (slice(None),) * 3
