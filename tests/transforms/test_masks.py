"""Masks are computed from the CTs where no file gives them, and only there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from ncct_cta.common.errors import InputError
from ncct_cta.common.keys import BODY, CASE, CTA, LUNG, NCCT, VESSEL
from ncct_cta.metrics import body_mask, vessel_mask_from_pair
from ncct_cta.phantom.cohort import make_case
from ncct_cta.transforms import BodyMaskd, LungMaskd, VesselMaskd
from ncct_cta.transforms.lung_mask import compute_lung_mask
from ncct_cta.volumes.orientation import to_ras

SPACING = (7.0, 7.0, 10.5)
TRANSFORMS = {LUNG: LungMaskd, VESSEL: VesselMaskd, BODY: BodyMaskd}


@pytest.fixture(scope="module")
def chest() -> dict[str, MetaTensor]:
    case = make_case(1, shape=(48, 48, 24), spacing=SPACING)
    affine = torch.diag(torch.tensor([*SPACING, 1.0], dtype=torch.float64))
    images = {key: to_ras(hu, case.affine)[0].copy() for key, hu in ((NCCT, case.ncct), (CTA, case.cta))}
    return {key: MetaTensor(torch.from_numpy(hu)[None], affine=affine) for key, hu in images.items()}


def test_each_mask_is_what_its_function_gives(chest):
    ncct, cta = (chest[key][0].numpy() for key in (NCCT, CTA))
    expected = {
        LUNG: compute_lung_mask(ncct, SPACING),
        VESSEL: vessel_mask_from_pair(ncct, cta, SPACING),
        BODY: body_mask(ncct, SPACING),
    }
    for key, kind in TRANSFORMS.items():
        mask = kind()(chest)[key]
        assert expected[key].any()
        assert np.array_equal(mask[0].numpy(), expected[key])
        assert mask.dtype == torch.uint8
        assert torch.equal(mask.affine, chest[NCCT].affine)


def test_the_affine_says_how_large_a_voxel_is(chest):
    fine = {key: MetaTensor(image.as_tensor(), affine=image.affine / 7) for key, image in chest.items()}
    assert not torch.equal(BodyMaskd()(fine)[BODY], BodyMaskd()(chest)[BODY])


@pytest.mark.parametrize("key", TRANSFORMS)
def test_a_mask_that_is_given_stays(chest, key):
    given = torch.zeros(1, 2, 2, 2)
    assert TRANSFORMS[key]()({**chest, key: given})[key] is given


@pytest.mark.parametrize("key", TRANSFORMS)
def test_a_missing_ct_is_passed_over_only_where_that_is_wanted(key):
    assert TRANSFORMS[key](allow_missing_keys=True)({CASE: "p"}) == {CASE: "p"}
    with pytest.raises(KeyError):
        TRANSFORMS[key]()({CASE: "p"})


def test_other_names_can_be_chosen(chest):
    images = {"pre": chest[NCCT], "post": chest[CTA]}
    images = LungMaskd("lungs", ct_key="pre")(images)
    images = VesselMaskd("arteries", ncct_key="pre", cta_key="post")(images)
    images = BodyMaskd("patient", ct_key="post")(images)
    assert {"lungs", "arteries", "patient"} < images.keys()
    assert np.array_equal(images["patient"][0].numpy(), body_mask(chest[CTA][0].numpy(), SPACING))


def test_a_chest_without_lungs_is_named(chest):
    solid = {NCCT: MetaTensor(torch.full((1, 20, 20, 10), 40), affine=chest[NCCT].affine), CASE: "p7"}
    with pytest.raises(InputError, match=r"^case p7: no lungs found"):
        LungMaskd()(solid)
