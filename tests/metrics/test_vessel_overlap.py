from __future__ import annotations

import math

import numpy as np
import pytest

from ncct_cta.metrics.regions import bright_without_contrast, near_vessels, thresholded_vessels, tissue_beside
from ncct_cta.metrics.vessel_overlap import branches, centreline, centreline_dice, dice

MM = (1.0, 1.0, 1.0)


def tube(radius: int = 3, shape: tuple[int, int, int] = (40, 30, 30), shift: int = 0) -> np.ndarray:
    """A straight vessel along the first axis."""
    y, z = np.ogrid[: shape[1], : shape[2]]
    disc = (y - 15 - shift) ** 2 + (z - 15) ** 2 <= radius**2
    mask = np.zeros(shape, bool)
    mask[4:36] = disc
    return mask


def cldice(found: np.ndarray, true: np.ndarray) -> float:
    return centreline_dice(found, true, centreline(found), centreline(true))


def test_the_centreline_of_a_tube_is_one_voxel_thick_and_central() -> None:
    line = centreline(tube())
    assert 20 < line.sum() <= 32
    assert set(zip(*np.nonzero(line)[1:], strict=True)) == {(15, 15)}


def test_centreline_dice_asks_for_the_course_and_not_for_the_width() -> None:
    thick, thin = tube(4), tube(2)
    assert dice(thin, thick) < 0.5
    assert cldice(thin, thick) == 1


def test_centreline_dice_is_the_harmonic_mean_of_precision_and_sensitivity() -> None:
    true = tube()
    half = true.copy()
    half[20:] = False  # all of its line lies in the true vessel, and half of the true line in it
    line = centreline(true)
    sensitivity = (line & half).sum() / line.sum()
    assert 0.4 < sensitivity < 0.6
    assert centreline_dice(half, true, centreline(half), line) == pytest.approx(2 * sensitivity / (1 + sensitivity))


def test_vessels_elsewhere_or_none_overlap_by_nothing_and_nothing_to_find_by_no_number() -> None:
    true, nothing = tube(), np.zeros((40, 30, 30), bool)
    assert cldice(tube(shift=9), true) == 0 == dice(tube(shift=9), true)
    assert cldice(nothing, true) == 0 == dice(nothing, true)
    assert math.isnan(cldice(nothing, nothing))
    assert math.isnan(cldice(true, nothing))
    assert math.isnan(dice(nothing, nothing))


def test_dice_is_twice_the_common_part_over_the_sum() -> None:
    assert dice(np.array([1, 1, 1, 0], bool), np.array([0, 0, 1, 1], bool)) == pytest.approx(2 / 5)


def test_vessels_by_threshold_are_bright_in_the_body_but_no_bone_and_no_speck() -> None:
    vessel = tube()
    ncct = np.full(vessel.shape, 40)
    bone = np.zeros(vessel.shape, bool)
    bone[10:20, 2:7, 2:7] = True
    ncct[bone] = 600
    cta = np.where(vessel, 151, ncct)
    cta[30, 2:4, 2:4] = 500  # a speck
    cta[bone] = 700
    cta[9, 2:7, 2:7] = 300  # partial volume of bone
    bright = bright_without_contrast(ncct, MM)
    body = np.ones(vessel.shape, bool)
    assert np.array_equal(thresholded_vessels(cta, body, bright, MM), vessel)
    assert not thresholded_vessels(np.minimum(cta, 150), body, bright, MM).any()
    body[20:] = False
    assert np.array_equal(thresholded_vessels(cta, body, bright, MM), vessel & body)


def test_the_tissue_beside_vessels_is_soft_and_in_a_shell_in_mm() -> None:
    vessel = tube(radius=2)
    ncct = np.full(vessel.shape, 40)
    ncct[:, :, :12] = -100  # fat
    lung = np.zeros(vessel.shape, bool)
    lung[:18] = True
    beside = tissue_beside(vessel, near_vessels(vessel, MM), ncct, lung, MM)
    assert not beside[:18].any()
    assert not (beside & (ncct != 40)).any()
    line = beside[25, 15]  # across the vessel, which ends at 17
    assert line.nonzero()[0].tolist() == [20, 21, 22, 23]
    thick = (1.0, 1.0, 2.0)
    coarse = tissue_beside(vessel, near_vessels(vessel, thick), ncct, lung, thick)
    assert coarse[25, 15].nonzero()[0].tolist() == [19, 20]


def test_branches_run_between_forks_and_ends_and_spurs_are_none() -> None:
    line = np.zeros((40, 30, 30), bool)
    line[4:36, 15, 15] = True
    assert branches(line, MM) == 1
    line[20, 15:28, 15] = True  # a fork in the middle: three branches
    line[28, 15:18, 15] = True  # a spur of 2 mm, which parts the second half of the trunk
    assert branches(line, MM) == 4
    assert branches(line, (0.2, 0.2, 0.2)) == 0
    assert branches(np.zeros_like(line), MM) == 0
