"""Even marrow in its cortex is bone; blood beside bone, amid denser blood or outside the lungs' hull is blood."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from ncct_cta.prepare.virtual.bone import Territories, find_territories
from ncct_cta.prepare.virtual.level import BloodLevel

MM = (2.0, 2.0, 2.0)
SHAPE = (120, 110, 24)
LEVEL = BloodLevel(hu=300.0, tissue_hu=55.0, brightest_hu=305.0)
SPINE, AORTA, ATRIUM, VEIN = (60, 30), (74, 37), (60, 60), (60, 96)


def disc(centre: tuple[int, int], radius: float) -> np.ndarray:
    """A cylinder along z: (X, Y, Z), bool."""
    x, y = np.ogrid[: SHAPE[0], : SHAPE[1]]
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
    return np.broadcast_to(inside[..., None], SHAPE)


@pytest.fixture(scope="module")
def territories() -> Territories:
    """Of a chest on a grid of 2 mm whose cortex isn't brighter than blood can be (423 HU)."""
    hu = np.full(SHAPE, 50, np.float32)
    lung = np.zeros(SHAPE, bool)
    lung[8:44, 15:85] = lung[86:112, 15:85] = True
    hu[lung] = -850
    for centre, radius, level in (
        (SPINE, 10, 400), (SPINE, 8.5, 200), (AORTA, 6, 300), (ATRIUM, 14, 380), (ATRIUM, 6, 230), (VEIN, 4, 330)
    ):  # fmt: skip
        hu[disc(centre, radius)] = level
    hu = ndimage.gaussian_filter(hu, (0.4, 0.4, 0))
    return find_territories(hu, MM, lung, np.ones(SHAPE, bool), LEVEL)


def test_even_marrow_is_bone(territories: Territories) -> None:
    assert territories.bone[disc(SPINE, 8)].all()
    assert not territories.blood[disc(SPINE, 8)].any()


@pytest.mark.parametrize("centre", [AORTA, ATRIUM])
def test_blood_beside_bone_and_amid_denser_blood_is_blood(territories: Territories, centre: tuple[int, int]) -> None:
    assert territories.blood[disc(centre, 5)].all()


def test_a_vein_outside_the_hull_is_blood(territories: Territories) -> None:
    assert territories.blood[disc(VEIN, 3)].all()
