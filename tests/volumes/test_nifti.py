"""Geometry must survive to the bit, and whatever is wrong with a file must be said in one line."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ncct_cta.common.errors import InputError
from ncct_cta.volumes import hu_check, nifti_file, nifti_write
from ncct_cta.volumes.nifti import case_name, read_ct, read_mask, require_same_grid
from ncct_cta.volumes.nifti_write import write_like, write_mask_like
from ncct_cta.volumes.orientation import from_ras, spacing_to_ras, to_ras

SHAPE = (5, 4, 3)
OBLIQUE = np.array([[-0.8, 0.1, 0.3, 40.0], [0.1, -0.7, 0.9, -30.0], [0.05, 0.2, 2.4, 7.5], [0, 0, 0, 1]])
SAGITTAL = np.array([[0, 0, 2.5, -80.0], [0.7, 0, 0, -120.0], [0, 0.7, 0, 10.0], [0, 0, 0, 1]])
LEFT_HANDED = np.diag([0.7, -0.8, -2.0, 1.0])


def _hu(dtype: type = np.int16, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.linspace(-1000, 900, np.prod(shape)).astype(np.int16).reshape(shape).astype(dtype)


def _rigid(angles: tuple[float, float, float], spacing: tuple[float, float, float], flip: bool = False) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles).as_matrix() * np.array(spacing)
    affine[:3, 0] *= -1 if flip else 1
    affine[:3, 3] = (-100.5, 80.25, -310.0)
    return affine


def _save(
    path: Path,
    data: np.ndarray | None = None,
    *,
    sform: tuple[np.ndarray | None, int] = (OBLIQUE, 1),
    qform: tuple[np.ndarray | None, int] = (None, 0),
    slope: tuple[float, float] = (1, 0),
    version: type[nib.Nifti1Image] = nib.Nifti1Image,
    units: str = "mm",
) -> Path:
    data = _hu() if data is None else data
    image = version(data, None, dtype=data.dtype)
    image.header.set_sform(*sform)
    image.header.set_qform(*qform)
    image.header.set_xyzt_units(units, "sec")
    image.header.set_slope_inter(*slope)
    nib.save(image, path)
    return path


def _geometry(path: Path) -> dict[str, object]:
    header = nib.load(path).header
    fields = ["sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d"]
    fields += ["qoffset_x", "qoffset_y", "qoffset_z", "pixdim", "dim", "xyzt_units", "sizeof_hdr"]
    return {field: header[field].tolist() for field in fields}


HEADERS = {
    "sform only, sheared": {"sform": (OBLIQUE, 2)},
    "qform only": {"sform": (None, 0), "qform": (_rigid((0.2, -0.1, 0.3), (0.7, 0.8, 2.5)), 1)},
    "both, and they differ": {"sform": (SAGITTAL, 4), "qform": (_rigid((0.1, 0, 0), (0.7, 0.7, 2.5)), 1)},
    "neither": {"sform": (None, 0)},
    "left-handed qform": {"sform": (None, 0), "qform": (_rigid((0.2, 0, 0), (0.7, 0.8, 2.5), flip=True), 1)},
    "left-handed sform": {"sform": (LEFT_HANDED, 1)},
    "NIfTI-2": {"version": nib.Nifti2Image},
    "4-D, one channel": {"data": _hu(shape=(*SHAPE, 1))},
    "5-D, one channel": {"data": _hu(shape=(*SHAPE, 1, 1))},
    "big-endian": {"data": _hu(">i2")},
    "micron": {"units": "micron"},
}


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_written_geometry_is_the_inputs_bit_for_bit(tmp_path: Path, header: dict, suffix: str) -> None:
    source = _save(tmp_path / f"in{suffix}", **header)
    volume = read_ct(source)
    write_like(volume.array, volume, tmp_path / f"out{suffix}")
    assert _geometry(tmp_path / f"out{suffix}") == _geometry(source)


@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3), spacing=st.tuples(*[st.floats(0.2, 12.0)] * 3), flip=st.booleans()
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_simpleitk_sees_the_same_image_in_the_output(
    tmp_path: Path, angles: tuple[float, float, float], spacing: tuple[float, float, float], flip: bool
) -> None:
    affine = _rigid(angles, spacing, flip)
    source = _save(tmp_path / "in.nii.gz", sform=(affine, 1), qform=(affine, 1))
    volume = read_ct(source)
    write_like(volume.array, volume, tmp_path / "out.nii.gz")
    before, after = sitk.ReadImage(str(source)), sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    assert (before.GetOrigin(), before.GetSpacing(), before.GetDirection()) == (
        (after.GetOrigin(), after.GetSpacing(), after.GetDirection())
    )
    np.testing.assert_array_equal(sitk.GetArrayFromImage(before), sitk.GetArrayFromImage(after))


def test_output_is_plain_int16_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz", _hu(np.float32), slope=(1.5, 3.25), sform=(LEFT_HANDED, 1)))
    volume.header["cal_max"] = 240
    write_like(np.full(SHAPE, -1024, np.int16), volume, tmp_path / "out.nii.gz")
    header = nib.load(tmp_path / "out.nii.gz").header
    assert header.get_data_dtype() == np.int16
    assert (header["cal_max"], header["descrip"].item()) == (0, b"synthetic CTA, not for diagnosis")
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz"))).max() == -1024


def test_written_file_says_slope_1_intercept_0(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii", (_hu(int) + 1024).astype(np.uint16), slope=(1, -1024)))
    write_like(volume.array.astype(np.int16), volume, tmp_path / "out.nii")
    raw = nib.Nifti1Header.from_fileobj(open(tmp_path / "out.nii", "rb"))  # noqa: SIM115
    assert (raw["scl_slope"], raw["scl_inter"]) == (1, 0)


def test_extensions_that_describe_the_acquisition_are_not_passed_on(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii"))
    volume.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"acquired 2024-01-01"))
    write_like(volume.array, volume, tmp_path / "out.nii")
    assert b"acquired" not in (tmp_path / "out.nii").read_bytes()


@pytest.mark.parametrize("version", [nib.Nifti1Image, nib.Nifti2Image])
def test_no_free_text_of_the_source_is_passed_on(tmp_path: Path, version: type[nib.Nifti1Image]) -> None:
    volume = read_ct(_save(tmp_path / "in.nii", version=version))
    texts = [
        name for name in volume.header if volume.header[name].dtype.kind == "S" and name not in ("magic", "regular")
    ]
    assert {"descrip", "aux_file", "intent_name"} < set(texts)
    for name in texts:
        volume.header[name] = b"DOE_JANE"
    write_like(volume.array, volume, tmp_path / "out.nii")
    write_mask_like(volume.array > 0, volume, tmp_path / "mask.nii")
    for name in ("out", "mask"):
        assert b"DOE_JANE" not in (tmp_path / f"{name}.nii").read_bytes()


def test_mask_is_written_as_uint8_on_the_same_grid(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz"))
    write_mask_like(volume.array > 0, volume, tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii.gz", volume), volume.array > 0)


@pytest.mark.parametrize(
    ("data", "slope", "dtype"),
    [
        (_hu(), (1, 0), np.int16),
        (_hu(np.float64), (1, 0), np.int16),  # integers in float files are exact, and int16 halves the memory
        ((_hu(int) + 1024).astype(np.uint16), (1, -1024), np.int16),
        (np.where(_hu(np.int32) == 900, 40_000, _hu(np.int32)), (1, 0), np.float32),  # metal
        (_hu(), (0.5, 0), np.float32),
        (_hu(np.float32) + 0.25, (1, 0), np.float32),
    ],
)
def test_values_are_read_exactly_in_the_smallest_type(
    tmp_path: Path, data: np.ndarray, slope: tuple[float, float], dtype: type
) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz", data, slope=slope))
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, data.astype(np.float64) * slope[0] + slope[1])


def test_type_may_change_between_slabs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti_file, "SLAB_BYTES", 1)  # a slab a slice
    data = _hu(np.float32)
    data[..., 1] += 0.5
    np.testing.assert_array_equal(read_ct(_save(tmp_path / "in.nii", data)).array, data)


def test_double_precision_is_never_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti_file, "SLAB_BYTES", 2**15)
    monkeypatch.setattr(hu_check, "SAMPLED_EDGE", 16)
    path = _save(tmp_path / "in.nii", _hu(np.float64, (64, 64, 64)))
    tracemalloc.start()
    try:
        array = read_ct(path).array
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * array.nbytes  # the file's own voxels are four times that


def test_spacing_and_affine_are_in_mm_whatever_the_units(tmp_path: Path) -> None:
    image = nib.Nifti1Image(_hu(), np.diag([700.0, 800.0, 2500.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "in.nii")
    volume = read_ct(tmp_path / "in.nii")
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.5))
    assert sitk.ReadImage(str(tmp_path / "in.nii")).GetSpacing() == pytest.approx(volume.spacing)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.nii\.gz: there is no such file"):
        read_ct(tmp_path / "nowhere.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.6, 0.999])
def test_truncated_file_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (16, 16, 8)).astype(np.int16)
    path = _save(tmp_path / f"in{suffix}", noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match=f"in{suffix}: not readable as NIfTI, damaged or cut short"):
        read_ct(path)


def test_truncated_file_says_where_it_ends(tmp_path: Path) -> None:
    path = _save(tmp_path / "in.nii")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="expected 3 slices, the file ends in slice 3"):
        read_ct(path)


def test_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "in.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_ct(path)


@pytest.mark.parametrize(
    "content", [b"no NIfTI at all" * 100, gzip.compress(b"neither" * 100)], ids=["plain", "packed"]
)
def test_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.nii.gz").write_bytes(content)
    with pytest.raises(InputError, match="not readable as NIfTI"):
        read_ct(tmp_path / "in.nii.gz")


@pytest.mark.parametrize("name", ["series", "scan.dcm"])
def test_what_is_no_nifti_by_name_points_to_prepare(tmp_path: Path, name: str) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "scan.dcm").touch()
    with pytest.raises(InputError, match=r"expected a NIfTI file .*ncct_cta\.prepare"):
        read_ct(tmp_path / name)


def test_nan_and_inf_voxels_are_counted(tmp_path: Path) -> None:
    data = _hu(np.float32)
    data[0, 0, 0], data[1, 2, 1], data[4, 3, 2] = np.nan, np.inf, -np.inf
    with pytest.raises(InputError, match="3 of 60 voxels are NaN or infinite"):
        read_ct(_save(tmp_path / "in.nii.gz", data))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((*SHAPE, 2), "expected one channel"),
        ((5, 4), "expected three axes"),
    ],
)
def test_wrong_dimensions_are_refused_with_the_shape(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_ct(_save(tmp_path / "in.nii.gz", _hu(shape=shape)))
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("shape", [(5, 4, 1), (1, 5, 4)])
def test_one_slice_is_a_volume_too(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert read_ct(_save(tmp_path / "in.nii.gz", _hu(shape=shape))).shape == shape


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_rgb_and_complex_voxels_are_refused(tmp_path: Path, dtype: np.dtype) -> None:
    with pytest.raises(InputError, match="expected one number each"):
        read_ct(_save(tmp_path / "in.nii.gz", np.zeros(SHAPE, dtype)))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (np.linspace(0, 255, 60).reshape(SHAPE).astype(np.uint8), r"\[2\.36, 252\.?\d*\]"),
        (np.linspace(-1, 1, 60).reshape(SHAPE).astype(np.float32), r"\[-0\.98, 0\.98\]"),
        ((_hu(int) + 1024).astype(np.uint16), r"\[4\d\.\d+, 190\d\]"),
    ],
)
def test_what_is_not_in_hu_is_refused_with_its_range(tmp_path: Path, data: np.ndarray, found: str) -> None:
    with pytest.raises(InputError, match=f"values lie in {found}, .* but a CT"):
        read_ct(_save(tmp_path / "in.nii.gz", data))


def test_affine_that_cannot_be_inverted_is_refused(tmp_path: Path) -> None:
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    flat[:3, 2] = (1.0, 0, 0)
    with pytest.raises(InputError, match="can't be inverted"):
        read_ct(_save(tmp_path / "in.nii.gz", sform=(flat, 1)))


def test_mask_of_labels_becomes_binary(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.float32)
    labels[1], labels[2] = 1, 7
    mask = read_mask(_save(tmp_path / "mask.nii.gz", labels))
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, labels > 0)


def test_empty_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the mask is empty"):
        read_mask(_save(tmp_path / "mask.nii.gz", np.zeros(SHAPE, np.uint8)))


def test_ct_given_as_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="looks like a CT"):
        read_mask(_save(tmp_path / "mask.nii.gz"))


def test_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz"))
    with pytest.raises(InputError, match=r"in\.nii\.gz is \(5, 4, 3\), the mask .* is \(5, 4, 2\)"):
        read_mask(_save(tmp_path / "mask.nii.gz", np.ones((5, 4, 2), np.uint8)), volume)


def test_different_shapes_are_named_with_the_remedy(tmp_path: Path) -> None:
    a = read_ct(_save(tmp_path / "a.nii.gz"))
    b = read_ct(_save(tmp_path / "b.nii.gz", _hu(shape=(5, 4, 2))))
    expected = (
        r"case 17: NCCT is \(5, 4, 3\), CTA is \(5, 4, 2\); resample them onto one grid \(python -m ncct_cta\.prep"
    )
    with pytest.raises(InputError, match=expected):
        require_same_grid(a, b, case="17")


@pytest.mark.parametrize(("shift", "same"), [(0.0, True), (1e-4, True), (0.1, False)])
def test_grids_may_differ_by_rounding_alone(tmp_path: Path, shift: float, same: bool) -> None:
    moved = OBLIQUE.copy()
    moved[0, 3] += shift
    a, b = read_ct(_save(tmp_path / "a.nii")), read_ct(_save(tmp_path / "b.nii", sform=(moved, 1)))
    if same:
        require_same_grid(a, b)
    else:
        with pytest.raises(InputError, match=r"0\.1 mm apart"):
            require_same_grid(a, b)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz"))
    old = _save(tmp_path / "out.nii.gz").read_bytes()

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nifti_write.os, "fsync", disk_full)
    with pytest.raises(InputError, match=r"out\.nii\.gz: can't be written \(No space left on device\)"):
        write_like(volume.array, volume, tmp_path / "out.nii.gz")
    assert (tmp_path / "out.nii.gz").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.nii.gz", "out.nii.gz"]


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz"))
    with pytest.raises(InputError, match="can't be written"):
        write_like(volume.array, volume, tmp_path / "in.nii.gz" / "out.nii.gz")


def test_output_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz"))
    write_like(volume.array, volume, tmp_path / "out.nii.gz")
    assert (tmp_path / "out.nii.gz").stat().st_mode == (tmp_path / "in.nii.gz").stat().st_mode


def test_compressed_output_holds_no_time_so_that_it_is_reproducible(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz"))
    write_like(volume.array, volume, tmp_path / "out.nii.gz")
    assert (tmp_path / "out.nii.gz").read_bytes()[4:8] == bytes(4)  # RFC 1952: MTIME


def test_only_int16_of_the_references_shape_is_written(tmp_path: Path) -> None:
    volume = read_ct(_save(tmp_path / "in.nii.gz"))
    with pytest.raises(TypeError, match="float32, expected int16"):
        write_like(volume.array.astype(np.float32), volume, tmp_path / "out.nii.gz")
    with pytest.raises(ValueError, match=r"is \(4, 4, 3\), its reference is \(5, 4, 3\)"):
        write_like(volume.array[1:], volume, tmp_path / "out.nii.gz")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a/b/case1_ncct.nii.gz", "case1"),
        ("1.2.840.113_ncct.nii", "1.2.840.113"),
        ("v1.5.nii.gz", "v1.5"),
        ("scan_ncct_2.NII.GZ", "scan_ncct_2"),
        ("_ncct.nii", "_ncct"),
        ("no_suffix.v2", "no_suffix.v2"),
    ],
)
def test_case_name_keeps_everything_but_the_suffixes(file: str, name: str) -> None:
    assert case_name(file) == name


@pytest.mark.parametrize("affine", [OBLIQUE, SAGITTAL, LEFT_HANDED], ids=["oblique", "sagittal", "left-handed"])
def test_reorientation_follows_nibabel_and_comes_back(affine: np.ndarray) -> None:
    hu = _hu()
    turned, orientation = to_ras(hu, affine)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(hu, affine))
    np.testing.assert_array_equal(turned, np.asanyarray(canonical.dataobj))
    spacing = spacing_to_ras(nib.affines.voxel_sizes(affine), orientation)
    np.testing.assert_allclose(spacing, nib.affines.voxel_sizes(canonical.affine))
    np.testing.assert_array_equal(from_ras(turned, orientation), hu)
