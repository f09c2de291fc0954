"""CTs and masks from their files: HU and the grid as they are, and what doesn't fit is named."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from ncct_cta.common.errors import InputError
from ncct_cta.common.keys import CASE, CTA, LUNG, NCCT
from ncct_cta.transforms import LoadCTd
from ncct_cta.volumes.nifti import read_ct

AFFINE = np.array([[0, -2.0, 0, 5], [0, 0, 3.0, 6], [4.0, 0, 0, 7], [0, 0, 0, 1]])
SHAPE = (6, 5, 4)


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.Nifti1Image(array, affine).to_filename(path)
    return path


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, SHAPE).astype(np.int16)


def test_cts_and_masks_become_images_with_the_files_affine(tmp_path, hu):
    files = {
        NCCT: write(tmp_path / "n.nii.gz", hu),
        CTA: write(tmp_path / "c.nii.gz", hu + 0.5),
        LUNG: write(tmp_path / "l.nii.gz", (hu > 0).astype(np.float32) * 255),
    }
    images = LoadCTd((NCCT, CTA), LUNG)({**files, CASE: "p1"})
    assert images[CASE] == "p1"
    for key, dtype in ((NCCT, torch.int16), (CTA, torch.float32), (LUNG, torch.uint8)):
        assert isinstance(images[key], MetaTensor)
        assert images[key].shape == (1, *SHAPE)
        assert images[key].dtype == dtype
        assert np.array_equal(images[key].affine.numpy(), AFFINE)
    assert np.array_equal(images[NCCT][0].numpy(), hu)
    assert np.array_equal(images[LUNG][0].numpy(), hu > 0)


def test_a_volume_that_is_read_already_is_taken_as_it_is(tmp_path, hu):
    volume = read_ct(write(tmp_path / "n.nii.gz", hu))
    volume.path.unlink()
    image = LoadCTd(NCCT)({NCCT: volume})[NCCT]
    assert np.array_equal(image[0].numpy(), hu)


def test_missing_keys_are_passed_over_only_where_that_is_wanted(tmp_path, hu):
    case = {NCCT: write(tmp_path / "n.nii.gz", hu)}
    assert LoadCTd((NCCT, CTA), LUNG, allow_missing_keys=True)(case).keys() == {NCCT}
    for load in (LoadCTd((NCCT, CTA)), LoadCTd(NCCT, LUNG), LoadCTd(CTA, allow_missing_keys=True)):
        with pytest.raises(KeyError):
            load(case)


@pytest.mark.parametrize(
    ("key", "names"), [(CTA, "NCCT and CTA have"), (LUNG, r"n\.nii\.gz and the mask .*l\.nii\.gz")]
)
def test_another_grid_is_named(tmp_path, hu, key, names):
    elsewhere = AFFINE + np.diag([0, 0, 0.5, 0])
    files = {NCCT: write(tmp_path / "n.nii.gz", hu), CTA: write(tmp_path / "c.nii.gz", hu)}
    if key == CTA:
        files[CTA] = write(tmp_path / "c.nii.gz", hu, elsewhere)
    else:
        files[LUNG] = write(tmp_path / "l.nii.gz", (hu > 0).astype(np.uint8), elsewhere)
    prefix = "^case p1: " if key == CTA else ""
    with pytest.raises(InputError, match=prefix + f".*{names}"):
        LoadCTd((NCCT, CTA), LUNG, allow_missing_keys=True)({**files, CASE: "p1"})
