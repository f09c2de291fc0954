"""HU are rounded as a file would hold them, and scaled as the networks see them."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from ncct_cta.common.hu import HUWindow
from ncct_cta.common.keys import CTA, LUNG, NCCT
from ncct_cta.transforms import RoundHUd, ScaleHUWindowd


def test_interpolated_hu_are_rounded_and_keep_their_affine() -> None:
    image = MetaTensor(torch.tensor([[[[-1000.4, 39.6, 40000.0]]]]), affine=torch.diag(torch.tensor([2.0, 3, 4, 1])))
    rounded = RoundHUd(NCCT)({NCCT: image, LUNG: image})
    assert rounded[NCCT].dtype == torch.int16
    assert rounded[NCCT].flatten().tolist() == [-1000, 40, 32767]
    assert torch.equal(rounded[NCCT].affine, image.affine)
    assert rounded[LUNG] is image


def test_the_window_is_scaled_and_what_lies_outside_clipped() -> None:
    hu = torch.tensor([-2000, -1000, -200, 600, 3000], dtype=torch.int16)
    scaled = ScaleHUWindowd((NCCT, CTA), HUWindow(-1000.0, 600.0))({NCCT: hu, CTA: hu.float(), LUNG: hu})
    for key in (NCCT, CTA):
        assert scaled[key].tolist() == [-1, -1, 0, 1, 1]
        assert scaled[key].dtype == torch.float32
    assert scaled[LUNG] is hu


@pytest.mark.parametrize("kind", [RoundHUd, lambda keys, **more: ScaleHUWindowd(keys, HUWindow(0.0, 1.0), **more)])
def test_a_missing_ct_is_passed_over_only_where_that_is_wanted(kind) -> None:
    assert kind(NCCT, allow_missing_keys=True)({}) == {}
    with pytest.raises(KeyError):
        kind(NCCT)({})
