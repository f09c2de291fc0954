"""One CT, whatever the format: the same HU on the same grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import chest_hu, write_series
from scipy.spatial.transform import Rotation

from ncct_cta.common.errors import InputError
from ncct_cta.volumes.itk_images import to_sitk
from ncct_cta.volumes.nifti import Volume, volume_from
from ncct_cta.volumes.nifti_write import write_like
from ncct_cta.volumes.reading import is_volume_file, read_volume

FORMATS = (".nrrd", ".mha", ".mhd", ".nhdr", ".nii.gz")


def _oblique() -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (8, -14, 21), degrees=True).as_matrix() * (0.75, 0.8, 1.5)
    affine[:3, 0] *= -1
    affine[:3, 3] = -113.5, 81.25, -310.0
    return volume_from(chest_hu(), affine, "oblique")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_is_read_with_its_hu_and_grid(tmp_path: Path, suffix: str) -> None:
    expected = _oblique()
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(to_sitk(expected), str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, expected.array)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-4)


def test_floating_hu_are_rounded(tmp_path: Path) -> None:
    image = sitk.Cast(to_sitk(_oblique()), sitk.sitkFloat32) + 0.4
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nrrd").array, chest_hu())


def test_what_is_written_is_read_by_simpleitk_on_the_same_grid(tmp_path: Path) -> None:
    volume = _oblique()
    write_like(volume.array, volume, tmp_path / "a.nii.gz")
    read, expected = sitk.ReadImage(str(tmp_path / "a.nii.gz")), to_sitk(volume)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(expected))
    for kind in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(read, kind)(), getattr(expected, kind)(), atol=1e-4)


def test_both_forms_of_the_header_hold_the_affine() -> None:
    header = _oblique().header
    np.testing.assert_allclose(header.get_sform(), header.get_qform(), atol=1e-4)
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)


def test_a_dicom_series_goes_by_a_label_without_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "Doe^Jane")
    assert str(read_volume(tmp_path / "Doe^Jane").path) == "DICOM series 3"


def test_a_single_dicom_file_is_no_volume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 x single image"):
        read_volume(write_series(tmp_path)[0])


def test_a_sheared_affine_has_no_place_in_simpleitk() -> None:
    affine = np.eye(4)
    affine[0, 2] = 0.2
    with pytest.raises(InputError, match="don't stand at right angles"):
        to_sitk(volume_from(chest_hu(), affine, "sheared"))


def _damaged(path: Path) -> None:
    sitk.WriteImage(to_sitk(_oblique()), str(path), useCompression=True)
    path.write_bytes(path.read_bytes()[:-400])


def _windowed(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 5, 6), 100, np.int16)), str(path))


def _flat(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((5, 6), -1000, np.int16)), str(path))


def _vectors(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.int16), isVector=True), str(path))


def _not_finite(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((4, 5, 6), np.nan, np.float32)), str(path))


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (_damaged, "damaged or cut short"),
        (_windowed, "holds air near"),
        (_flat, "expected three axes and one value"),
        (_vectors, "3 values per voxel"),
        (_not_finite, "NaN or infinite"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, write: Callable[[Path], None], words: str) -> None:
    write(tmp_path / "scan.nrrd")
    with pytest.raises(InputError, match=words) as error:
        read_volume(tmp_path / "scan.nrrd")
    assert str(error.value).startswith(str(tmp_path / "scan.nrrd"))


def _replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old in content
        return content.replace(old, new, 1)

    return change


def _flipped_behind(header: bytes) -> Callable[[bytes], bytes]:
    """One bit of the packed voxels."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[content.index(header) + len(header) + 1000] ^= 4
        return bytes(changed)

    return change


DAMAGED = {
    "huge NRRD": (
        ".nrrd",
        _replaced(b"sizes: 20 16 6", b"sizes: 32000 32000 32000"),
        "the file holds 3840 bytes",
    ),
    "huge MHA": (".mha", _replaced(b"DimSize = 20 16 6", b"DimSize = 32000 32000 32000"), "the file holds 3840 bytes"),
    "huge MHD": (".mhd", _replaced(b"DimSize = 20 16 6", b"DimSize = 32000 32000 32000"), "damaged or cut short"),
    "NRRD of fewer slices": (".nrrd", _replaced(b"sizes: 20 16 6", b"sizes: 20 16 2"), "says 1280 bytes of voxels"),
    "MHA of fewer slices": (".mha", _replaced(b"DimSize = 20 16 6", b"DimSize = 20 16 2"), "says 1280 bytes of voxels"),
    "MHA of more slices": (".mha", _replaced(b"DimSize = 20 16 6", b"DimSize = 20 16 9"), "damaged or cut short"),
    "flipped bit in NRRD": (".nrrd", _flipped_behind(b"\n\n"), "damaged or cut short"),
    "flipped bit in MHA": (".mha", _flipped_behind(b"LOCAL\n"), "damaged or cut short"),
    "no spacing": (".mha", _replaced(b"ElementSpacing", b"ElementSpicing"), "the header lacks elementspacing"),
    "no data file": (".mhd", _replaced(b"= scan", b"= gone"), "damaged or cut short"),
    "NaN origin": (".nrrd", _replaced(b"space origin: (", b"space origin: (nan"), "copy it again"),
}


@pytest.mark.parametrize(("suffix", "damage", "words"), DAMAGED.values(), ids=DAMAGED.keys())
def test_what_itk_reads_over_is_one_line(
    tmp_path: Path, suffix: str, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = tmp_path / f"scan{suffix}"
    sitk.WriteImage(to_sitk(_oblique()), str(path), useCompression=suffix in (".nrrd", ".mha"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=words) as error:
        read_volume(path)
    message = str(error.value).replace(str(tmp_path), "scans")
    assert message.startswith(f"scans/scan{suffix}: ")
    assert len(message) <= 300


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing.nrrd", "there is no such file"), ("missing", "there is no such file"), ("notes.txt", "none of them")],
)
def test_what_is_no_ct_is_named(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "notes.txt").write_text("no CT")
    with pytest.raises(InputError, match=words):
        read_volume(tmp_path / name)


def test_volumes_are_told_by_their_names() -> None:
    names = ["a.nii", "a.NII.GZ", "a.nrrd", "a.mha", "a.MHD", "a.nhdr", "a.dcm", "a.gz", "a"]
    assert [is_volume_file(Path(name)) for name in names] == [True] * 6 + [False] * 3


def test_nifti_of_any_orientation_is_read_as_it_is(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 2.5, -80.0], [-0.7, 0, 0, 120.0], [0, -0.7, 0, 10.0], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(chest_hu(), affine), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.array, chest_hu())
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
