"""One scan in, its synthetic CTA out, in the same kind and with the voxels that the command writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import ncct_cta
from ncct_cta.api.images import volume_of
from ncct_cta.infer.command import main as infer


@pytest.fixture(scope="module")
def scan(cohort: Path) -> Path:
    return sorted(cohort.glob("*_ncct.nii.gz"))[0]


@pytest.fixture(scope="module")
def written(scan: Path, trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> nib.Nifti1Image:
    """What ``ncct-cta infer`` writes of the scan."""
    folder = tmp_path_factory.mktemp("infer")
    infer(["--input", str(scan), "--output", str(folder), "--run", str(trained_run), "--device", "cpu"])
    return nib.load(next(folder.glob("*_syncta.nii.gz")))


@pytest.fixture(scope="module")
def model(trained_run: Path) -> ncct_cta.Model:
    return ncct_cta.Model.load(trained_run, device="cpu")


def voxels(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(image.dataobj)


def test_a_nibabel_image_gives_one(scan: Path, written: nib.Nifti1Image, model: ncct_cta.Model) -> None:
    made = ncct_cta.synthesize(nib.load(scan), model)
    assert isinstance(made, nib.Nifti1Image)
    assert np.array_equal(voxels(made), voxels(written))
    assert np.array_equal(made.affine, written.affine)
    assert made.get_data_dtype() == np.int16
    assert not np.array_equal(voxels(made), voxels(nib.load(scan)))  # or it would prove nothing


def test_its_header_keeps_the_geometry_alone(scan: Path, written: nib.Nifti1Image, model: ncct_cta.Model) -> None:
    """Converters write names of patients into the texts, and windows of display into the rest."""
    image = nib.load(scan)
    for field in ("db_name", "aux_file", "intent_name", "descrip"):
        image.header[field] = b"DOE JANE"
    image.header["cal_min"], image.header["cal_max"] = -160, 240
    made = ncct_cta.synthesize(image, model)
    assert b"DOE" not in made.header.binaryblock
    different = {name for name in made.header if not np.array_equal(made.header[name], written.header[name])}
    assert different <= {"magic", "vox_offset", "scl_slope", "scl_inter"}  # what is set when a file is written


def test_microns_are_millimetres_as_in_a_file(scan: Path, model: ncct_cta.Model) -> None:
    image = nib.load(scan)
    affine = image.affine * 1000
    affine[3, 3] = 1
    in_microns = nib.Nifti1Image(voxels(image), affine)
    in_microns.header.set_xyzt_units("micron")
    assert np.allclose(volume_of(in_microns).affine, image.affine)
    made = ncct_cta.synthesize(in_microns, model)
    assert np.array_equal(voxels(made), voxels(ncct_cta.synthesize(image, model)))
    assert np.array_equal(made.affine, in_microns.affine)


def test_a_masked_array_is_refused(scan: Path, model: ncct_cta.Model) -> None:
    image = nib.load(scan)
    hidden = np.ma.masked_less(image.get_fdata(), -500)
    with pytest.raises(ncct_cta.InputError, match="masked"):
        ncct_cta.synthesize(hidden, model, affine=image.affine)


def test_an_array_gives_one(scan: Path, written: nib.Nifti1Image, model: ncct_cta.Model) -> None:
    image = nib.load(scan)
    made = ncct_cta.synthesize(image.get_fdata(), model, affine=image.affine)
    assert np.array_equal(made, voxels(written))


def test_a_simpleitk_image_gives_one(scan: Path, written: nib.Nifti1Image, model: ncct_cta.Model) -> None:
    image = sitk.ReadImage(str(scan))
    made = ncct_cta.synthesize(image, model)
    assert np.array_equal(sitk.GetArrayFromImage(made).transpose(), voxels(written))
    assert (made.GetOrigin(), made.GetDirection()) == (image.GetOrigin(), image.GetDirection())


def test_a_path_gives_that_of_the_file_written(
    scan: Path, written: nib.Nifti1Image, trained_run: Path, tmp_path: Path
) -> None:
    made = ncct_cta.synthesize(scan, trained_run, output=tmp_path)
    assert isinstance(made, Path)
    assert made.parent == tmp_path
    assert np.array_equal(voxels(nib.load(made)), voxels(written))


def test_progress_rises_to_one(scan: Path, model: ncct_cta.Model) -> None:
    shares: list[float] = []
    model.synthesize(nib.load(scan), progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda image: (image.get_fdata(), {}), "an affine belongs to a NumPy array"),
        (lambda image: (image.get_fdata()[0], {"affine": image.affine}), r"expected \(X, Y, Z\)"),
        (lambda image: (image.get_fdata() * np.nan, {"affine": image.affine}), "NaN or infinite"),
        (lambda image: (image.get_fdata() / 5000, {"affine": image.affine}), "a CT in HU holds air"),
        (lambda image: (image.get_fdata(), {"affine": np.zeros((4, 4))}), "affine"),
        (lambda image: ([1, 2], {}), "is a list, expected a path"),
        (lambda image: ("scan.nii.gz", {}), "no folder to write to"),
    ],
    ids=["no affine", "a slice", "not finite", "no HU", "no place", "a list", "no output"],
)
def test_bad_input_is_an_exception_of_one_family(given, said: str, scan: Path, model: ncct_cta.Model) -> None:
    image, options = given(nib.load(scan))
    with pytest.raises(ncct_cta.InputError, match=said):
        model.synthesize(image, **options)


def test_a_missing_model_is_too(tmp_path: Path) -> None:
    with pytest.raises(ncct_cta.InputError, match="no such checkpoint"):
        ncct_cta.Model.load(tmp_path / "gone.pt")


def test_the_import_is_light() -> None:
    code = "import sys, ncct_cta, ncct_cta.api; sys.exit(bool({'torch', 'monai', 'numpy'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
