"""Values that aren't HU are refused, whatever padding lies around them, with the formula that mends them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import write_series
from scipy import ndimage
from toy_chest import body, chest_hu, outside_circle

from ncct_cta.common.errors import InputError
from ncct_cta.volumes.hu_check import require_hu
from ncct_cta.volumes.reading import read_volume

Change = Callable[[np.ndarray], np.ndarray]


def _scaled(hu: np.ndarray) -> np.ndarray:
    """The HU window [-1000, 600] in [-1, 1]."""
    return (hu.clip(-1000, 600) + 1000).astype(np.float32) / 800 - 1


NOT_HU: dict[str, tuple[Change, str]] = {
    "-1..1": (_scaled, r"HU: LOWER \+ \(x \+ 1\) / 2 \* \(UPPER - LOWER\)"),
    "0..1": (lambda hu: (_scaled(hu) + 1) / 2, r"HU: LOWER \+ x \* \(UPPER - LOWER\)"),
    "0..1, noise below": (lambda hu: (hu + 1000) / 2000, r"HU: LOWER \+ x \*"),
    "0..255": (lambda hu: np.rint((_scaled(hu) + 1) * 127.5), r"HU: LOWER \+ x / 255 \* \(UPPER - LOWER\)"),
    "shifted by 1024": (lambda hu: hu + 1024, "HU: x - 1024"),
    "intercept applied twice": (lambda hu: hu - 1024, r"HU: x \+ 1024"),
    "windowed": (lambda hu: hu.clip(-160, 240), "neither windowed nor normalised"),
    "beyond 16 bits": (lambda hu: hu * 1e30, r"HU, within \(-32768, 32767\)$"),
    "constant": (lambda hu: hu * 0, "give the CT in HU$"),
}


def _one_voxel(values: np.ndarray) -> np.ndarray:
    values[3, 3, 3] = -2000
    return values


def _circle(value: float) -> Change:
    return lambda values: np.where(outside_circle(), np.float32(value), values)


def _slices(values: np.ndarray) -> np.ndarray:
    values[..., :3] = -3024
    return values


PADDINGS: dict[str, Change] = {
    "none": lambda values: values,
    "one voxel": _one_voxel,
    "circle of -2000": _circle(-2000),
    "circle of -1024": _circle(-1024),
    "circle of -976": _circle(-976),  # -2000 that was shifted with the rest
    "empty slices": _slices,
    "all around the body": lambda values: np.where(body(), values, -1024),
    "circle, resampled": lambda values: ndimage.zoom(_circle(-1024)(values), (1.3, 1.3, 1), order=1),
}


@pytest.mark.parametrize("pad", PADDINGS.values(), ids=PADDINGS.keys())
@pytest.mark.parametrize(("change", "remedy"), NOT_HU.values(), ids=NOT_HU.keys())
def test_what_is_not_hu_is_refused_whatever_its_padding(change: Change, remedy: str, pad: Change) -> None:
    with pytest.raises(InputError, match=remedy) as error:
        require_hu(pad(change(chest_hu()).astype(np.float32)), "scans/p017.nii.gz")
    assert str(error.value).startswith("scans/p017.nii.gz: the values lie in [")
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize("pad", PADDINGS.values(), ids=PADDINGS.keys())
def test_hu_are_accepted_whatever_their_padding(pad: Change) -> None:
    require_hu(pad(chest_hu().astype(np.float32)), "ct")


def test_a_lung_without_noise_is_not_taken_for_padding() -> None:
    require_hu(chest_hu(noise_hu=0), "ct")


def test_a_volume_beyond_the_sample_is_judged_by_all_of_it() -> None:
    tall = np.concatenate([np.full((*chest_hu().shape[:2], 150), -1000, np.int16), chest_hu()], axis=2)
    require_hu(tall, "ct")


def _nifti(path: Path, values: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values, np.eye(4)), path / "scan.nii.gz")
    return path / "scan.nii.gz"


def _sitk(suffix: str) -> Callable[[Path, np.ndarray], Path]:
    def write(path: Path, values: np.ndarray) -> Path:
        sitk.WriteImage(sitk.GetImageFromArray(values.transpose(2, 1, 0)), str(path / f"scan{suffix}"))
        return path / f"scan{suffix}"

    return write


FILES = {"NIfTI": _nifti, "NRRD": _sitk(".nrrd"), "MHA": _sitk(".mha")}


@pytest.mark.parametrize("write", FILES.values(), ids=FILES.keys())
def test_every_format_is_judged_alike(tmp_path: Path, write: Callable[[Path, np.ndarray], Path]) -> None:
    with pytest.raises(InputError, match=r"scan\.\w+(\.gz)?: the values lie in \[-1, 0\.\d+\].*UPPER"):
        read_volume(write(tmp_path, _one_voxel(_scaled(chest_hu()))))


def test_the_dicom_readers_own_fill_is_no_air(tmp_path: Path) -> None:
    stored = np.where(outside_circle(), 0, chest_hu() + 1100).astype(np.int16)  # an intercept of 0 is wrong here
    write_series(tmp_path, stored - 1024, PixelPaddingValue=0, RescaleIntercept=0)
    with pytest.raises(InputError, match="shift by 1024"):
        read_volume(tmp_path)
