"""TotalSegmentator's classes become a mask of blood by their names."""

from __future__ import annotations

import numpy as np
import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.prepare.virtual.given import blood_from_labels, is_blood


@pytest.mark.parametrize("name", ["aorta", "heart_atrium_left", "subclavian_artery_right", "lung_vessels"])
def test_vessels_and_chambers_are_blood(name: str) -> None:
    assert is_blood(name)


@pytest.mark.parametrize("name", ["heart", "heart_myocardium", "vertebrae_T5", "lung_upper_lobe_left"])
def test_muscle_and_other_organs_are_not(name: str) -> None:
    assert not is_blood(name)


def test_labels_of_blood_are_joined() -> None:
    labels = np.arange(4).reshape(4, 1, 1)
    blood = blood_from_labels(labels, {1: "aorta", 2: "liver", 3: "pulmonary_vein"})
    assert blood.ravel().tolist() == [False, True, False, True]


def test_a_mask_without_blood_is_refused() -> None:
    with pytest.raises(InputError, match="no class of blood among liver"):
        blood_from_labels(np.ones((1, 1, 1)), {1: "liver"})
