"""Contrast is seen in the blood, whatever the header says."""

from __future__ import annotations

import numpy as np
import pytest
from shared_data import SHARED_DATA

from ncct_cta.common.hu import BONE_LOWER_HU
from ncct_cta.phantom.cohort import make_case
from ncct_cta.transforms.contrast import blood_hu, is_enhanced
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras
from ncct_cta.volumes.reading import read_volume

needs_shared = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="needs the real scans beside the checkout: shared/data"
)
SPACING = (7.0, 7.0, 10.5)


def _blood(hu: np.ndarray, affine: np.ndarray, spacing: tuple[float, float, float]) -> float | None:
    ras, orientation = to_ras(hu, affine)
    return blood_hu(ras, spacing_to_ras(spacing, orientation))


@pytest.mark.parametrize("seed", range(4))
def test_a_phantoms_blood_is_measured(seed: int) -> None:
    case = make_case(seed, shape=(48, 48, 24), spacing=SPACING)
    heart = np.percentile(case.cta[case.vessel > 0], 75)
    without, with_contrast = (_blood(hu, case.affine, SPACING) for hu in (case.ncct, case.cta))
    assert without == pytest.approx(50, abs=20)
    assert with_contrast == pytest.approx(heart, rel=0.2)
    assert (is_enhanced(without), is_enhanced(with_contrast)) == (False, True)


def test_calcification_and_a_pacemaker_lead_are_no_contrast() -> None:
    case = make_case(0, shape=(48, 48, 24), spacing=SPACING)
    heart = np.argwhere(case.vessel > 0)
    lead = heart[:: len(heart) // 12]
    case.ncct[tuple(lead.T)] = 5 * BONE_LOWER_HU
    assert is_enhanced(_blood(case.ncct, case.affine, SPACING)) is False


def test_without_lungs_nothing_is_measured() -> None:
    abdomen = np.full((40, 40, 20), -1000, np.int16)
    abdomen[5:-5, 5:-5] = 60
    assert blood_hu(abdomen, SPACING) is None
    assert is_enhanced(None) is None


@needs_shared
@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("pairs/lidc0001_ncct.nii.gz", (30, 80)),
        ("pairs/lidc0001_cta.nii.gz", (350, 450)),
        ("pairs/cmbcrc_ncct.nii.gz", (30, 80)),
        ("pairs/cmbcrc_cta.nii.gz", (350, 450)),
        ("ncct/lungdx_a0001.nii.gz", (30, 80)),
        ("dicom/lungdx_a0002", (30, 80)),
    ],
)
@pytest.mark.slow
def test_real_scans_are_told_apart(file: str, expected: tuple[float, float]) -> None:
    volume = read_volume(SHARED_DATA / file)
    blood = _blood(volume.array, volume.affine, volume.spacing)
    assert blood is not None
    assert expected[0] < blood < expected[1]
