from __future__ import annotations

import base64
import gzip
from dataclasses import replace

import numpy as np
import pytest

from ncct_cta.common.hu import AIR_HU
from ncct_cta.evaluate.report.packed_volumes import CaseVolumes, PackedCase, fit_case, pack_volume, read_case
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.orientation import to_ras


def bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)


def unpack(packed: PackedCase, at: int) -> np.ndarray:
    """HU of a packed volume, written from the description alone."""
    volume = packed.volumes[at]
    content = bytes_of(volume.text)
    size = content.size // 2
    codes = content[:size].astype(np.int64) + 256 * content[size:].astype(np.int64)
    values = np.where(codes % 2 == 0, codes // 2, -(codes + 1) // 2).reshape(packed.shape, order="F")
    if volume.difference:
        return values * packed.step_hu + unpack(packed, 0)
    return np.cumsum(values, axis=2) * packed.step_hu


def noisy_case(shape=(24, 20, 12), spacing=(2.0, 2.0, 2.0), count=4) -> CaseVolumes:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 300, shape)
    images = tuple((base + rng.normal(0, 40, shape)).astype(np.int16) for _ in range(count))
    return CaseVolumes(images, np.zeros(shape, bool), spacing, 0)


def test_what_was_packed_comes_back_within_half_a_step():
    volumes = noisy_case()
    fine = fit_case(volumes, 10**6)
    for packed, step in ((fine, 4), (fit_case(volumes, fine.size - 1), 8)):
        assert (packed.step_hu, packed.shape) == (step, (24, 20, 12))
        for at, image in enumerate(volumes.images_hu):
            assert np.abs(unpack(packed, at) - image).max() <= step / 2


def test_the_extremes_of_int16_come_back():
    extreme = np.array([-32768, 32767, -32768, 32764], np.int16).reshape(1, 1, 4)
    flipped = np.ascontiguousarray(extreme[..., ::-1])
    packed = fit_case(CaseVolumes((extreme, flipped), np.zeros((1, 1, 4), bool), (1, 1, 1), 0), 10**6)
    assert np.abs(unpack(packed, 0) - extreme).max() <= 2
    assert np.abs(unpack(packed, 1) - flipped).max() <= 2


def test_a_method_near_the_ncct_is_packed_as_its_difference():
    steps = np.random.default_rng(0).integers(-100, 100, (16, 16, 8)).astype(np.int16)
    near, alone = pack_volume(steps + 1, steps), pack_volume(steps + 1, None)
    assert near.difference
    assert len(near.text) < len(alone.text) / 10


@pytest.mark.parametrize("limit", [18_000, 12_000, 5_000])
def test_a_case_fits_its_limit_with_coarser_voxels(limit):
    volumes = noisy_case()
    packed = fit_case(volumes, limit)
    assert limit / 3 < packed.size <= limit
    assert min(packed.spacing) > 2
    extent = np.multiply(packed.shape, packed.spacing)
    assert np.allclose(extent, np.multiply(volumes.mip_region.shape, volumes.spacing))


def test_an_axis_that_is_coarse_already_stays():
    packed = fit_case(noisy_case(shape=(32, 32, 6), spacing=(1.0, 1.0, 5.0)), 12_000)
    assert (packed.shape[2], packed.spacing[2]) == (6, 5)
    assert packed.shape[0] < 32


def test_coarser_voxels_stay_where_they_were():
    image = np.full((40, 40, 40), -1000, np.int16)
    image[30:, :, :] = 1000  # to the patient's right
    noise = np.random.default_rng(0).integers(-50, 50, (40, 40, 40)).astype(np.int16)
    packed = fit_case(CaseVolumes((image + noise,), image > 0, (1.0, 1.0, 1.0), 0), 20_000)
    halves = unpack(packed, 0).mean(axis=(1, 2)) > 0
    edge = np.argmax(halves) * packed.spacing[0]
    assert edge == pytest.approx(30, abs=packed.spacing[0])
    region = bytes_of(packed.region).reshape(packed.shape, order="F")
    assert np.argmax(region.mean(axis=(1, 2)) > 0.5) == np.argmax(halves)


def test_a_case_is_read_in_ras_with_air_outside_the_body(evaluation):
    case = evaluation.cases[0]
    volumes = read_case(case, evaluation.methods)
    assert len(volumes.images_hu) == 2 + len(evaluation.methods) - 1
    file = read_ct(case.cta)
    whole = to_ras(file.array, file.affine)[0]
    cta = volumes.images_hu[-1]
    assert cta.max() == whole.max()
    centre = tuple(size // 2 for size in cta.shape)
    assert cta[centre] in whole
    assert (cta[0, 0] == AIR_HU).all()
    # G2's prediction holds 0.9 of the enhancement: all volumes are turned alike.
    ncct, g2 = volumes.images_hu[0].astype(float), volumes.images_hu[-2]
    assert np.abs(ncct + 0.9 * (cta - ncct) - g2).max() <= 1


def test_the_mip_looks_at_lung_and_vessels_or_at_the_body_without_masks(evaluation):
    case = evaluation.cases[0]
    with_masks = read_case(case, evaluation.methods).mip_region
    without = read_case(replace(case, lung=None, vessel=None), evaluation.methods).mip_region
    assert 0 < with_masks.sum() < without.sum()


def test_a_case_without_a_cta_is_refused(evaluation):
    with pytest.raises(ValueError, match="has no CTA"):
        read_case(replace(evaluation.cases[0], cta=None), evaluation.methods)
