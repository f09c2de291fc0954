"""HU of every slice, whatever stores them."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
import pytest
from dicom_phantom import INTERCEPT, ORIGIN, SPACING, chest_hu, one_series, save, slice_dataset, write_series
from pydicom import Dataset

from ncct_cta.common.errors import InputError
from ncct_cta.dicom.pixels import read_series
from ncct_cta.dicom.series import choose_series, find_series
from ncct_cta.volumes.reading import read_volume


def test_a_plain_series_gives_its_hu_and_geometry(tmp_path: Path) -> None:
    write_series(tmp_path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, chest_hu())
    assert volume.array.dtype == np.int16
    expected = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1])
    expected[:3, 3] = -ORIGIN[0], -ORIGIN[1], ORIGIN[2]  # RAS from LPS
    np.testing.assert_allclose(volume.affine, expected, atol=1e-4)
    assert volume.header.get_xyzt_units()[0] == "mm"


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


def test_an_image_that_is_there_under_two_uids_counts_once_and_is_remarked(tmp_path: Path) -> None:
    write_series(tmp_path)
    duplicate = slice_dataset(chest_hu()[..., 2], 2)
    first = find_series(tmp_path).volumes[0].first
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(duplicate, keyword, first.text(keyword))
    save(duplicate, tmp_path / "again")
    volume = read_series(choose_series(tmp_path))
    np.testing.assert_array_equal(volume.hu, chest_hu())
    assert volume.remarks == ("images that were there twice and count once: 1",)


def test_two_different_images_at_one_position_are_an_error(tmp_path: Path) -> None:
    uids = one_series()
    write_series(tmp_path / "a", **uids)
    write_series(tmp_path / "b", chest_hu(seed=1), **uids)
    with pytest.raises(InputError, match="6 positions hold two different images"):
        read_volume(tmp_path)


def test_a_file_that_is_cut_short_is_named_by_its_number_not_its_path(tmp_path: Path) -> None:
    path = write_series(tmp_path)[3]
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="DICOM series 3: image 4: its pixels are damaged") as error:
        read_volume(tmp_path)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_a_matrix_that_the_file_cannot_hold_is_not_allocated(tmp_path: Path, keyword: str) -> None:
    write_series(tmp_path, **{keyword: 65535})
    with pytest.raises(InputError, match="its pixels are damaged"):
        read_volume(tmp_path)


def test_missing_rescale_elements_are_no_intercept_of_0(tmp_path: Path) -> None:
    write_series(tmp_path, RescaleIntercept=None, RescaleSlope=None)
    with pytest.raises(InputError, match=r"RescaleSlope or RescaleIntercept is missing, and .* \[24, 2\d+\]"):
        read_volume(tmp_path)


def test_values_that_are_evidently_hu_need_no_rescale_elements(tmp_path: Path) -> None:
    def store_hu(z: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.PixelData = chest_hu()[..., z].T.astype("<i2").tobytes()

    write_series(tmp_path, edit=store_hu, RescaleIntercept=None, RescaleSlope=None)
    np.testing.assert_array_equal(read_volume(tmp_path).array, chest_hu())


def test_some_images_without_rescale_elements_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, edit=lambda z, dataset: delattr(dataset, "RescaleIntercept") if z == 2 else None)
    with pytest.raises(InputError, match=r"missing in 1 of 6 images, first in image 3, whose values can't be HU"):
        read_volume(tmp_path)


def test_the_fill_of_padding_is_no_air_that_was_scanned(tmp_path: Path) -> None:
    stored = chest_hu((40, 36, 12)) + 1024  # no HU, though the rescale elements say so
    stored[:12] = -2000

    def sign(z: int, dataset: Dataset) -> None:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.RescaleIntercept = 0
        dataset.PixelData = stored[..., z].T.astype("<i2").tobytes()
        dataset.add_new(PADDING, "US", 63536)

    write_series(tmp_path, stored, sign)
    with pytest.raises(InputError, match=r"the values lie in \[.*x - 1024 undoes a shift by 1024"):
        read_volume(tmp_path)
