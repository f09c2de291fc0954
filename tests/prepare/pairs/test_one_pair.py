"""One pair as it is prepared: what registration brings is taken, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ncct_cta.common.hu import SYNTHRAD_RANGE_HU
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.prepare.limits import flags
from ncct_cta.prepare.pairs import grids, one_pair
from ncct_cta.prepare.pairs.one_pair import prepare_pair
from ncct_cta.prepare.pairs.quality import CONTRAST_LIMITS, measure
from ncct_cta.prepare.pairs.task import PreparationSettings
from ncct_cta.transforms import contrast
from ncct_cta.transforms.lung_mask import compute_lung_mask
from ncct_cta.volumes.itk_images import to_sitk
from ncct_cta.volumes.nifti import Volume, read_ct

RIGID = PreparationSettings(deformable=False, keep_grid=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Volume, Volume]:
    folder = tmp_path_factory.mktemp("pair")
    write_cohort(folder, cases=1, seed=3, shape=(64, 64, 32), spacing=(5.25, 5.25, 8.0))
    return read_ct(folder / "phantom000_ncct.nii.gz"), read_ct(folder / "phantom000_cta.nii.gz")


def test_a_pair_that_lies_right_is_left_as_it_is(pair: tuple[Volume, Volume], monkeypatch: pytest.MonkeyPatch) -> None:
    ncct, cta = pair
    measured: list[object] = []
    monkeypatch.setattr(one_pair, "measure", lambda *scans: measured.append(scans) or measure(*scans))
    prepared = prepare_pair(ncct, cta, RIGID)
    np.testing.assert_array_equal(prepared.images["cta"], cta.array.clip(min=SYNTHRAD_RANGE_HU[0]))
    assert prepared.scores["mutual_information_after"] == prepared.scores["mutual_information_before"]
    assert len(measured) == 1


def test_each_scan_is_segmented_and_converted_once(
    pair: tuple[Volume, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: calls.update([name]) or function(*arguments)

    for module in (grids, contrast):
        monkeypatch.setattr(module, "compute_lung_mask", counted("lung mask", compute_lung_mask))
    for module in (grids, one_pair):
        monkeypatch.setattr(module, "to_sitk", counted("conversion", to_sitk))
    prepare_pair(*pair, RIGID)
    assert calls == {"lung mask": 2, "conversion": 3}  # NCCT, CTA, and the grid that they are written on


def test_a_pair_that_does_not_is_moved(pair: tuple[Volume, Volume]) -> None:
    ncct, cta = pair
    shifted = Volume(np.roll(cta.array, 2, axis=0), cta.header, cta.path, cta.stored_shape)
    prepared = prepare_pair(ncct, shifted, RIGID)
    assert prepared.scores["mutual_information_after"] > 1.1 * prepared.scores["mutual_information_before"]
    error = np.abs(prepared.images["cta"].astype(float) - cta.array)[8:-8, 8:-8, 4:-4].mean()
    assert error < 0.5 * np.abs(shifted.array.astype(float) - cta.array)[8:-8, 8:-8, 4:-4].mean()


@pytest.mark.parametrize(
    ("ncct", "cta", "wrong"),
    [
        (0, 1, []),
        (1, 0, ["the NCCT shows contrast", "the CTA shows no contrast", "the CTA is nowhere brighter"]),
        (0, 0, ["the CTA shows no contrast", "the CTA is nowhere brighter"]),
        (1, 1, ["the NCCT shows contrast", "the CTA is nowhere brighter"]),
    ],
)
def test_contrast_where_none_belongs_or_none_at_all_is_flagged(
    pair: tuple[Volume, Volume], ncct: int, cta: int, wrong: list[str]
) -> None:
    # Such pairs lie on each other, so that nothing else shows what is wrong with them.
    found = flags(prepare_pair(pair[ncct], pair[cta], RIGID).scores, CONTRAST_LIMITS)
    assert len(found) == len(wrong)
    assert all(reason in flag for reason, flag in zip(wrong, found, strict=True))
