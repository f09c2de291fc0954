"""Quality control: the scores mean what they say, and a pair that isn't one is flagged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import SimpleITK as sitk
from phantom_pair import PhantomPair, make_pair

from ncct_cta.prepare.limits import flags
from ncct_cta.prepare.pairs.alignment import Alignment, align
from ncct_cta.prepare.pairs.quality import LIMITS, as_it_came, lung_agreement, measure, mutual_information

STAY = Alignment(sitk.Transform(), None)


@pytest.fixture(scope="module")
def pair() -> PhantomPair:
    return make_pair()


def test_an_aligned_pair_is_good(pair: PhantomPair) -> None:
    scores = measure(*pair.images, STAY)
    assert not flags(scores, LIMITS)
    assert scores["lung_dice_after"] == scores["lung_dice_before"] > 0.97
    assert scores["covered"] == pytest.approx(1)


def test_the_cta_of_another_patient_is_flagged() -> None:
    wrong = make_pair(0, cta_of=3)
    found = flags(measure(*wrong.images, align(*wrong.images, deformable=False)), LIMITS)
    assert any("lungs' overlap" in flag and "look at the picture" in flag for flag in found)


def test_before_and_after_differ_by_the_transform(pair: PhantomPair) -> None:
    shift = sitk.TranslationTransform(3, (0.0, 0.0, 25.0))
    scores = measure(*pair.images, Alignment(shift, None))
    assert scores["lung_dice_after"] < 0.9 < scores["lung_dice_before"]
    assert scores["surface_mean_mm_after"] > 5 > scores["surface_mean_mm_before"]
    assert scores["mutual_information_after"] < 0.7 * scores["mutual_information_before"]
    assert scores["covered"] == pytest.approx(1 - 25 / (20 * 12.6), abs=0.06)


def test_a_pair_that_is_left_where_it_lay_needs_no_second_measurement(pair: PhantomPair) -> None:
    shift = sitk.TranslationTransform(3, (0.0, 0.0, 25.0))
    assert as_it_came(measure(*pair.images, Alignment(shift, None))) == measure(*pair.images, STAY)


def test_folding_is_the_share_of_the_body(pair: PhantomPair) -> None:
    images = pair.images
    mirrored = sitk.Image(images[0].GetSize(), sitk.sitkVectorFloat64)
    mirrored.CopyInformation(images[0])
    places = np.arange(mirrored.GetSize()[2]) * mirrored.GetSpacing()[2]
    field = np.zeros((*images[0].GetSize()[::-1], 3))
    field[..., 2] = -2 * places[:, None, None]  # z becomes -z
    folding = sitk.GetImageFromArray(field, isVector=True)
    folding.CopyInformation(mirrored)
    scores = measure(*images, Alignment(sitk.Transform(), folding))
    assert scores["folded"] > 0.8
    assert any("folds" in flag and "--no-deformable" in flag for flag in flags(scores, LIMITS))


def test_surface_distances_are_in_mm() -> None:
    lung, other = np.zeros((2, 24, 24, 24), bool)
    lung[4:16, 4:16, 4:16] = True
    other[4:16, 4:16, 7:19] = True
    scores = lung_agreement(lung, other, 2.0)
    assert scores["lung_dice"] == pytest.approx(0.75)
    assert scores["surface_p95_mm"] == pytest.approx(6.0)
    assert 0 < scores["surface_mean_mm"] < 6


def test_lungs_that_are_not_there_have_no_distance(pair: PhantomPair) -> None:
    away = Alignment(sitk.TranslationTransform(3, (5000.0, 0.0, 0.0)), None)
    scores = measure(*pair.images, away)
    assert scores["lung_dice_after"] == scores["covered"] == 0
    assert math.isnan(scores["surface_mean_mm_after"])
    assert len(found := flags(scores, LIMITS)) >= 3
    assert any("(95th percentile) could not be measured, expected at most 10" in flag for flag in found)


@pytest.mark.parametrize(("b", "nats"), [([-900, -900, 100, 100], math.log(2)), ([50, 50, 50, 50], 0.0)])
def test_mutual_information_of_two_values(b: Sequence[int], nats: float) -> None:
    assert mutual_information(np.array([300, 300, -500, -500]), np.array(b)) == pytest.approx(nats, abs=1e-9)
