"""Each trap of hospital DICOM gives the right volume or an error that names it."""

from __future__ import annotations

import re
from pathlib import Path

import gdcm
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import INTERCEPT, ORIGIN, SPACING, chest_hu, save, slice_dataset, write_series
from pydicom import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    EnhancedCTImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)
from scipy import ndimage

from ncct_cta.data.volumes import read_volume
from ncct_cta.dicom.geometry import grid_of
from ncct_cta.dicom.pixels import read_series
from ncct_cta.dicom.series import choose_series, find_series
from ncct_cta.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data" / "dicom" / "lungdx_a0002"


def _read_by_sitk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def _require_like_sitk(folder: Path) -> None:
    expected = _read_by_sitk(folder)
    volume = read_series(choose_series(folder))
    np.testing.assert_array_equal(volume.hu.transpose(2, 1, 0), sitk.GetArrayFromImage(expected))
    np.testing.assert_allclose(volume.affine[:3, 3], expected.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, :3], axis=0), expected.GetSpacing(), rtol=1e-6)
    direction = volume.affine[:3, :3] / expected.GetSpacing()
    np.testing.assert_allclose(direction.ravel(), expected.GetDirection(), atol=1e-6)


def test_a_plain_series_gives_its_hu_and_geometry(tmp_path: Path) -> None:
    write_series(tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, chest_hu())
    assert volume.array.dtype == np.int16
    expected = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1])
    expected[:3, 3] = -ORIGIN[0], -ORIGIN[1], ORIGIN[2]  # RAS from LPS
    np.testing.assert_allclose(volume.affine, expected, atol=1e-4)
    assert volume.header.get_xyzt_units()[0] == "mm"


def test_geometry_is_that_of_simpleitk(tmp_path: Path) -> None:
    write_series(tmp_path)
    _require_like_sitk(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real series beside the checkout: shared/data/dicom")
def test_a_real_series_is_read_as_by_simpleitk() -> None:
    _require_like_sitk(REAL)


def test_an_oblique_series_is_read_as_by_simpleitk(tmp_path: Path) -> None:
    cos, sin = np.cos(0.3), np.sin(0.3)
    normal = np.array([0, -sin, cos])

    def turn(z: int, dataset: Dataset) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, round(cos, 8), round(sin, 8)]
        dataset.ImagePositionPatient = [round(x, 6) for x in np.array(ORIGIN) + z * SPACING[2] * normal]

    write_series(tmp_path, edit=turn)
    _require_like_sitk(tmp_path)


def test_slope_and_intercept_count_slice_by_slice(tmp_path: Path) -> None:
    hu = chest_hu() // 2 * 2

    def rescale(z: int, dataset: Dataset) -> None:
        if z % 2:
            dataset.RescaleSlope, dataset.RescaleIntercept = 2, -2000
            dataset.PixelData = ((hu[..., z].T.astype(np.int32) + 2000) // 2).astype("<u2").tobytes()

    write_series(tmp_path, hu, rescale)
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu)


PADDING, LIMIT = (0x0028, 0x0120), (0x0028, 0x0121)


@pytest.mark.parametrize("padding", [{PADDING: 63536}, {PADDING: 63535, LIMIT: 63536}], ids=["value", "range"])
def test_padding_becomes_air(tmp_path: Path, padding: dict[tuple[int, int], int]) -> None:
    hu = chest_hu()
    hu[:3] = -2000 + INTERCEPT

    def sign(z: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.PixelData = (hu[..., z].T - INTERCEPT).astype("<i2").tobytes()
        for tag, value in padding.items():
            dataset.add_new(tag, "US", value)  # 63536 for -2000, as many scanners write it

    write_series(tmp_path, hu, sign)
    read = read_volume(tmp_path).array
    assert (read[:3] == -1000).all()
    np.testing.assert_array_equal(read[3:], hu[3:])


def test_a_padding_value_that_tissue_has_changes_nothing(tmp_path: Path) -> None:
    write_series(tmp_path, PixelPaddingValue=-INTERCEPT)  # 0 HU: water
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


@pytest.mark.parametrize(
    "syntax", ["JPEGLosslessProcess14_1", "JPEG2000Lossless", "JPEGLSLossless", "RLELossless"], ids=str.lower
)
def test_compressed_pixels_are_read_exactly(tmp_path: Path, syntax: str) -> None:
    for path in write_series(tmp_path):
        _compress(path, getattr(gdcm.TransferSyntax, syntax))
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def _compress(path: Path, syntax: int) -> None:
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def test_files_are_found_below_and_under_any_name_and_others_are_counted(tmp_path: Path) -> None:
    for number, path in enumerate(write_series(tmp_path)):
        (tmp_path / f"deep {number % 2}" / "er").mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / f"deep {number % 2}" / "er" / f"{number}.jpg")
    (tmp_path / "notes.dcm").write_text("no DICOM")
    (tmp_path / "empty").touch()
    inventory = find_series(tmp_path)
    assert (len(inventory.volumes), inventory.other_files) == (1, 2)
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_files_without_preamble_are_read(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        content = path.read_bytes()
        length_of_meta = int.from_bytes(content[140:144], "little")
        path.write_bytes(content[144 + length_of_meta :])
    assert path.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_several_series_are_listed_and_none_is_chosen(tmp_path: Path) -> None:
    write_series(tmp_path, SeriesNumber=2, ConvolutionKernel="B30f")
    write_series(tmp_path, chest_hu(seed=1), SeriesNumber=5, ConvolutionKernel="B70f")
    with pytest.raises(InputError, match=r"2 CT volumes.*DICOM series \d \(6 images.*B[37]0f.*DICOM series \d \(6"):
        read_volume(tmp_path)
    second = next(series for series in find_series(tmp_path).volumes if series.first.text("SeriesNumber") == "5")
    np.testing.assert_array_equal(read_volume(tmp_path, series=second.key).array, chest_hu(seed=1))


def test_patients_in_one_folder_are_told_apart_even_with_one_series_uid(tmp_path: Path) -> None:
    uid = generate_uid()
    write_series(tmp_path / "a", SeriesInstanceUID=uid, PatientID="1")
    write_series(tmp_path / "b", SeriesInstanceUID=uid, PatientID="2")
    assert [series.first.text("PatientID") for series in find_series(tmp_path).volumes] == ["1", "2"]


def test_a_tilted_gantry_is_straightened(tmp_path: Path) -> None:
    # A smooth scene that the slices cut at 20 degrees: any wrong shift or sign shows.
    angle = np.radians(20.0)
    shape, step = (24, 40, 12), 2.5
    axis_y, normal = np.array([0, np.cos(angle), np.sin(angle)]), np.array([0, -np.sin(angle), np.cos(angle)])

    def scene(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        return 400 * np.sin(x / 9) + 300 * np.sin(y / 11) + 200 * np.cos(z / 13) - 300

    i, j = np.meshgrid(np.arange(shape[0]) * 0.8, np.arange(shape[1]) * 0.8, indexing="ij")
    hu = np.empty(shape, np.int16)
    origins = [np.array([0.0, 0, step * k]) for k in range(shape[2])]  # the table moves along z
    for k, origin in enumerate(origins):
        points = origin[:, None, None] + np.array([1, 0, 0])[:, None, None] * i + axis_y[:, None, None] * j
        hu[..., k] = np.rint(scene(points))

    def tilt(k: int, dataset: Dataset) -> None:
        dataset.GantryDetectorTilt = 20
        dataset.ImageOrientationPatient = [1, 0, 0, *(round(c, 10) for c in axis_y)]
        dataset.ImagePositionPatient = [float(x) for x in origins[k]]

    write_series(tmp_path, hu, tilt)
    volume = read_series(choose_series(tmp_path))
    assert any("tilt" in remark for remark in volume.remarks)
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(axes[:, 2], normal, atol=1e-6)
    indices = np.indices(volume.hu.shape).reshape(3, -1)
    points = nib.affines.apply_affine(volume.affine, indices.T).T
    expected = scene(points).reshape(volume.hu.shape)
    inside = ndimage.binary_erosion(volume.hu > -999, iterations=1)
    assert inside.sum() > 0.7 * hu.size
    assert np.abs(volume.hu - expected)[inside].max() < 4  # linear interpolation


def test_missing_slices_are_named(tmp_path: Path) -> None:
    files = write_series(tmp_path, chest_hu((20, 16, 12)))
    for z in (4, 7, 8):
        files[z].unlink()
    expected = ", ".join(f"{ORIGIN[2] + z * SPACING[2]:.1f}" for z in (4, 7, 8))
    with pytest.raises(InputError, match=f"series 3: 3 slices are missing, at {expected} mm.*export"):
        read_volume(tmp_path)


def test_uneven_spacing_is_named(tmp_path: Path) -> None:
    def shift(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, z * 2.5 + (1.2 if z == 3 else 0)]

    write_series(tmp_path, edit=shift)
    with pytest.raises(InputError, match=r"1\.3 to 3\.7 mm apart, most unevenly at 8\.7 mm"):
        read_volume(tmp_path)


def test_rounded_positions_are_even(tmp_path: Path) -> None:
    def rounded(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, round(z * 0.625, 1)]

    write_series(tmp_path, chest_hu((20, 16, 17)), rounded)
    assert read_volume(tmp_path).spacing[2] == pytest.approx(0.625, abs=1e-6)


def test_a_file_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    files = write_series(tmp_path)
    (tmp_path / "copy").write_bytes(files[2].read_bytes())
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_an_image_that_is_there_under_two_uids_counts_once_and_is_remarked(tmp_path: Path) -> None:
    write_series(tmp_path)
    duplicate = slice_dataset(chest_hu()[..., 2], 2)
    first = find_series(tmp_path).volumes[0].first.tags
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(duplicate, keyword, getattr(first, keyword))
    save(duplicate, tmp_path / "again")
    volume = read_series(choose_series(tmp_path))
    np.testing.assert_array_equal(volume.hu, chest_hu())
    assert volume.remarks == ("1 images were there twice and count once",)


def test_two_different_images_at_one_position_are_an_error(tmp_path: Path) -> None:
    uids = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    write_series(tmp_path / "a", **uids)
    write_series(tmp_path / "b", chest_hu(seed=1), **uids)
    with pytest.raises(InputError, match="6 positions hold two different images"):
        read_volume(tmp_path)


@pytest.mark.parametrize("keyword", ["AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime"])
def test_phases_in_one_series_are_two_volumes(tmp_path: Path, keyword: str) -> None:
    uids = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    write_series(tmp_path / "a", **uids, **{keyword: 2})
    write_series(tmp_path / "b", chest_hu(seed=1), **uids, **{keyword: 10})
    with pytest.raises(InputError, match=r"2 CT volumes.*series 3, volume 1.*series 3, volume 2"):
        read_volume(tmp_path)
    first, second = (read_volume(tmp_path, series=f"{uids['SeriesInstanceUID']}#{part}").array for part in (1, 2))
    np.testing.assert_array_equal(first, chest_hu())
    np.testing.assert_array_equal(second, chest_hu(seed=1))


def test_another_matrix_or_orientation_in_one_series_is_another_volume(tmp_path: Path) -> None:
    uids = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    write_series(tmp_path / "a", **uids)
    write_series(tmp_path / "b", chest_hu((24, 16, 6)), **uids)
    coronal = [1, 0, 0, 0, 0, -1]
    write_series(tmp_path / "c", **uids, ImageOrientationPatient=coronal, edit=_along_y)
    assert [len(series.slices) for series in find_series(tmp_path).volumes] == [6, 6, 6]


def _along_y(z: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [0, 2.5 * z, 0]


IGNORED = {
    "localiser": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "projection": {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
    "no CT image (Secondary Capture Image Storage)": {"SOPClassUID": SecondaryCaptureImageStorage},
    "no CT image (RT Structure Set Storage)": {"SOPClassUID": RTStructureSetStorage},
    "no CT image (Positron Emission Tomography Image Storage)": {"SOPClassUID": PositronEmissionTomographyImageStorage},
    "no CT image (Basic Text SR Storage)": {"SOPClassUID": BasicTextSRStorage},
    "enhanced multi-frame CT, which isn't read: export it as classic CT images": {
        "SOPClassUID": EnhancedCTImageStorage
    },
    "no ImagePositionPatient": {"ImagePositionPatient": None},
}


@pytest.mark.parametrize("reason", IGNORED)
def test_what_is_no_slice_is_ignored_with_its_reason(tmp_path: Path, reason: str) -> None:
    write_series(tmp_path / "other", **IGNORED[reason])
    with pytest.raises(InputError, match=f"no CT volume.*1 x {re.escape(reason)}"):
        read_volume(tmp_path)
    write_series(tmp_path / "ct")
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())
    assert [series.ignored for series in find_series(tmp_path).ignored] == [reason]


def test_a_localiser_within_the_series_is_left_out(tmp_path: Path) -> None:
    uids = {"SeriesInstanceUID": generate_uid(), "FrameOfReferenceUID": generate_uid()}
    write_series(tmp_path / "a", **uids)
    write_series(tmp_path / "b", chest_hu((30, 20, 1)), **uids, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_a_single_image_is_no_volume(tmp_path: Path) -> None:
    write_series(tmp_path, chest_hu((20, 16, 1)))
    with pytest.raises(InputError, match="1 x single image"):
        read_volume(tmp_path)


def test_a_file_that_is_cut_short_is_named_by_its_number_not_its_path(tmp_path: Path) -> None:
    path = write_series(tmp_path)[3]
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="DICOM series 3: image 4: its pixels are damaged") as error:
        read_volume(tmp_path)
    assert str(tmp_path) not in str(error.value)


def test_nothing_but_damaged_headers_is_no_dicom(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        path.write_bytes(path.read_bytes()[:140])
    with pytest.raises(InputError, match="6 files that aren't DICOM"):
        read_volume(tmp_path)


def test_images_at_one_position_only_are_no_volume(tmp_path: Path) -> None:
    write_series(tmp_path, ImagePositionPatient=[0, 0, 0])
    with pytest.raises(InputError, match="all images lie at one position"):
        grid_of(choose_series(tmp_path))
