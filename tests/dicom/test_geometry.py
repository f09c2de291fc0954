"""A grid like SimpleITK's, or the reason why a series has none."""

from __future__ import annotations

import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_phantom import ORIGIN, SPACING, chest_hu, write_series
from pydicom import Dataset
from scipy import ndimage
from shared_data import SHARED_DATA

from ncct_cta.common.errors import InputError
from ncct_cta.dicom.geometry import grid_of
from ncct_cta.dicom.pixels import read_series
from ncct_cta.dicom.series import choose_series
from ncct_cta.volumes.reading import read_volume

REAL = SHARED_DATA / "dicom" / "lungdx_a0002"


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


def test_a_tilted_gantry_is_straightened(tmp_path: Path) -> None:
    # A smooth scene that the slices cut at 20 degrees: any wrong shift or sign shows.
    angle = np.radians(20.0)
    shape, step = (24, 40, 12), 2.5
    axis_y, normal = np.array([0, np.cos(angle), np.sin(angle)]), np.array([0, -np.sin(angle), np.cos(angle)])

    def scene(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        return 400 * np.sin(x / 9) + 300 * np.sin(y / 11) + 200 * np.cos(z / 13) - 300

    i, j = np.meshgrid(*(np.arange(n) * mm for n, mm in zip(shape, SPACING[:2], strict=False)), indexing="ij")
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
    with pytest.raises(InputError, match=rf"series 3: slices are missing \(3\), at {expected} mm.*export"):
        read_volume(tmp_path)


def test_a_slice_a_thousand_kilometres_away_is_named_at_once(tmp_path: Path) -> None:
    def place(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, 1e9 if z == 5 else 2.5 * z]

    write_series(tmp_path, edit=place)
    started = time.monotonic()
    with pytest.raises(
        InputError, match=r"slices are missing \(399999995\), at 12\.5, 15\.0.* and 399999990 more mm"
    ) as error:
        read_volume(tmp_path)
    assert time.monotonic() - started < 5
    assert len(str(error.value)) < 300


def test_two_stations_are_named_with_what_helps(tmp_path: Path) -> None:
    def place(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, 2.5 * z + (300 if z > 5 else 0)]

    write_series(tmp_path, chest_hu((20, 16, 14)), place)
    message = (
        r"two blocks, 0\.0 to 12\.5 mm and 315\.0 to 332\.5 mm along its axis, as of two stations; move the images"
    )
    with pytest.raises(InputError, match=message):
        read_volume(tmp_path)


def test_passes_that_overlap_are_named_with_what_helps(tmp_path: Path) -> None:
    def place(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, 2.5 * z if z < 8 else 2.5 * (z - 3) + 1]
        del dataset.InstanceNumber  # it would tell the passes apart

    write_series(tmp_path, chest_hu((20, 16, 16)), place)
    with pytest.raises(InputError, match="two passes seem to overlap there: move the images of each pass to a folder"):
        read_volume(tmp_path)


def test_uneven_spacing_is_named(tmp_path: Path) -> None:
    def shift(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, z * 2.5 + (1.2 if z == 3 else 0)]

    write_series(tmp_path, edit=shift)
    with pytest.raises(InputError, match=r"1\.3 to 3\.7 mm apart, most unevenly at 8\.7 mm"):
        read_volume(tmp_path)


def test_positions_that_run_away_sideways_are_named(tmp_path: Path) -> None:
    def drift(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [1e9 * z, 0, z * 2.5]

    write_series(tmp_path, edit=drift)
    with pytest.raises(InputError, match=r"series 3: slices drift 5e\+09 mm within their planes over 12\.5 mm"):
        read_volume(tmp_path)


def test_rounded_positions_are_even(tmp_path: Path) -> None:
    def rounded(z: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0, 0, round(z * 0.625, 1)]

    write_series(tmp_path, chest_hu((20, 16, 17)), rounded)
    assert read_volume(tmp_path).spacing[2] == pytest.approx(0.625, abs=1e-6)


def test_images_at_one_position_only_are_no_volume(tmp_path: Path) -> None:
    write_series(tmp_path, ImagePositionPatient=[0, 0, 0])
    with pytest.raises(InputError, match="all images lie at one position"):
        grid_of(choose_series(tmp_path))


def test_axes_that_the_header_rounds_stand_at_right_angles(tmp_path: Path) -> None:
    write_series(tmp_path, ImageOrientationPatient=[0.9998, 0.0175, 0, -0.0174, 0.9998, 0.0002])
    axes = grid_of(choose_series(tmp_path)).affine[:3, :3] / SPACING
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)


def test_pixels_of_next_to_no_size_fill_no_memory(tmp_path: Path) -> None:
    def drift(z: int, dataset: Dataset) -> None:
        dataset.PixelSpacing = ["1e-7", "1e-7"]
        dataset.ImagePositionPatient = [0, z, z * 2.5]

    write_series(tmp_path, edit=drift)
    with pytest.raises(InputError, match=r"drift 5e\+07 pixels within their planes, expected at most 320; its Pixel"):
        grid_of(choose_series(tmp_path))
