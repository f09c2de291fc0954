"""Blood is found in a phantom's CTA, and bone, which is as bright, isn't taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.phantom.cohort import PhantomCase, make_case
from ncct_cta.prepare.virtual.blood import FoundBlood, find_blood
from ncct_cta.volumes.orientation import to_ras

SPACING = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module")
def phantom() -> PhantomCase:
    return make_case(11, 0, shape=(112, 86, 86), spacing=SPACING)


@pytest.fixture(scope="module")
def found(phantom: PhantomCase) -> FoundBlood:
    return find_blood(to_ras(phantom.cta, phantom.affine)[0], SPACING)


def test_most_of_what_is_found_is_blood(phantom: PhantomCase, found: FoundBlood) -> None:
    truth = to_ras(phantom.vessel, phantom.affine)[0] > 0
    assert np.count_nonzero(found.blood & truth) > 0.85 * np.count_nonzero(found.blood)
    assert np.count_nonzero(found.blood & truth) > 0.6 * np.count_nonzero(truth)


def test_bone_is_never_blood(phantom: PhantomCase, found: FoundBlood) -> None:
    bone = to_ras(phantom.ncct, phantom.affine)[0] > 400
    assert np.count_nonzero(found.blood & bone) < 0.01 * np.count_nonzero(bone)


def test_a_given_mask_is_taken_as_it_is(phantom: PhantomCase) -> None:
    cta, given = (to_ras(array, phantom.affine)[0] for array in (phantom.cta, phantom.vessel))
    blood = find_blood(cta, SPACING, given=given).blood
    assert not (blood & (given == 0)).any()
    assert np.count_nonzero(blood) > 0.98 * np.count_nonzero(given)


def test_a_scan_without_contrast_is_refused(phantom: PhantomCase) -> None:
    with pytest.raises(InputError, match="give a chest CT with contrast"):
        find_blood(to_ras(phantom.ncct, phantom.affine)[0], SPACING)
