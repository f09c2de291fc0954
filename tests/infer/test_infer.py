"""The inference contract, end to end: NIfTI in HU in, NIfTI in HU on the same grid out."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from made_scans import NOT_SET, chest, edited, hu_of, save, synthesise
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy.spatial.transform import Rotation

from ncct_cta.runs.trained_model import TrainedModel


def _rigid(spacing: tuple[float, float, float], *, mirrored: bool = False) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (8, -14, 21), degrees=True).as_matrix() * spacing
    affine[:3, 0] *= -1 if mirrored else 1
    affine[:3, 3] = -113.5, 81.25, -310.0
    return affine


OBLIQUE = _rigid((0.75, 0.75, 1.5))
LEFT_HANDED = _rigid((0.75, 0.75, 1.5), mirrored=True)
ANISOTROPIC = np.diag([0.6, 0.9, 5.0, 1.0])
SAGITTAL = np.array([[0, 0, 2.5, -80.0], [-0.7, 0, 0, 120.0], [0, -0.7, 0, 10.0], [0, 0, 0, 1]])
FORMS: dict[str, dict] = {
    "oblique": {"sform": (OBLIQUE, 1), "qform": (OBLIQUE, 1)},
    "left_handed": {"sform": (LEFT_HANDED, 2), "qform": (LEFT_HANDED, 1)},
    "not_axial": {"sform": (SAGITTAL, 1), "qform": (SAGITTAL, 1)},
    "anisotropic": {"sform": (ANISOTROPIC, 1), "qform": (ANISOTROPIC, 1)},
    "sform_only": {"sform": (OBLIQUE, 4)},
    "qform_only": {"sform": NOT_SET, "qform": (OBLIQUE, 3)},
    "two_forms": {"sform": (OBLIQUE, 2), "qform": (ANISOTROPIC, 1)},
    "microns": {"sform": (np.diag([700.0, 700, 1500, 1]), 1), "units": ("micron", "unknown")},
}


@pytest.fixture(scope="module")
def geometries(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folder of one scan a geometry, and that of their synthetic CTAs."""
    folder = tmp_path_factory.mktemp("geometries")
    for name, forms in FORMS.items():
        save(folder / "in" / f"{name}.nii.gz", chest(), **forms)
    synthesise(folder / "in", folder / "out", "--run", trained_run)
    return folder / "in", folder / "out"


@pytest.mark.parametrize("name", FORMS)
def test_the_header_says_the_same_to_nibabel(geometries: tuple[Path, Path], name: str) -> None:
    source, synthetic = (nib.load(next(folder.glob(f"{name}*.nii.gz"))) for folder in geometries)
    assert synthetic.shape == source.shape
    assert synthetic.get_data_dtype() == np.int16
    for field in ("sform_code", "qform_code", "xyzt_units", "srow_x", "srow_y", "srow_z", "pixdim"):
        assert np.array_equal(synthetic.header[field], source.header[field]), field
    for field in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        assert synthetic.header[field] == source.header[field], field
    assert np.array_equal(synthetic.affine, source.affine)


@pytest.mark.parametrize("name", FORMS)
def test_the_grid_is_the_same_for_simpleitk(geometries: tuple[Path, Path], name: str) -> None:
    source, synthetic = (sitk.ReadImage(str(next(folder.glob(f"{name}*.nii.gz")))) for folder in geometries)
    assert synthetic.GetSize() == source.GetSize()
    assert synthetic.GetSpacing() == source.GetSpacing()
    assert synthetic.GetOrigin() == source.GetOrigin()
    assert synthetic.GetDirection() == source.GetDirection()
    assert synthetic.GetPixelID() == sitk.sitkInt16


def test_the_voxels_are_the_same_for_nibabel_and_simpleitk(geometries: tuple[Path, Path]) -> None:
    path = next(geometries[1].glob("oblique*.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T, hu_of(path))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL", "IRA"])
def test_a_turned_copy_of_a_scan_gives_the_same_synthesis(
    codes: str, trained_run: Path, scan: Path, tmp_path: Path
) -> None:
    source = nib.load(scan)
    turn = ornt_transform(io_orientation(source.affine), axcodes2ornt(codes))
    turned = source.as_reoriented(turn)
    nib.save(turned, tmp_path / "turned.nii.gz")
    outputs = synthesise(tmp_path / "turned.nii.gz", tmp_path / "out", "--run", trained_run)
    expected = synthesise(scan, tmp_path / "straight", "--run", trained_run)["phantom003_syncta.nii.gz"]
    back = ornt_transform(axcodes2ornt(codes), io_orientation(source.affine))
    result = nib.load(outputs["turned_syncta.nii.gz"])
    assert np.array_equal(result.affine, turned.affine)
    assert np.array_equal(np.asanyarray(result.as_reoriented(back).dataobj), hu_of(expected))
    assert not np.array_equal(hu_of(expected), hu_of(scan))  # else nothing was synthesised


def test_a_network_that_changes_nothing_gives_the_input_exactly(identity_run: Path, tmp_path: Path) -> None:
    hu = chest()
    assert (hu < -1000).any()
    assert (hu > 1000).any()
    save(tmp_path / "a.nii.gz", hu, sform=(OBLIQUE, 1))
    outputs = synthesise(tmp_path / "a.nii.gz", tmp_path / "out", "--run", identity_run)
    assert np.array_equal(hu_of(outputs["a_syncta.nii.gz"]), hu)


def test_the_output_is_the_input_plus_the_networks_change(trained_run: Path, tmp_path: Path) -> None:
    # A body that one window of the training patch's size holds with its margin.
    hu = np.random.default_rng(0).normal(-1000, 60, (32, 32, 4)).astype(np.int16)
    hu[8:24, 8:24] = np.abs(chest((16, 16, 4)))
    save(tmp_path / "a.nii.gz", hu)
    outputs = synthesise(tmp_path / "a.nii.gz", tmp_path / "out", "--run", trained_run)
    model = TrainedModel(str(trained_run), device="cpu")
    low, high = model.settings.data.window
    normalised = (np.clip(hu, low, high) - low) / (high - low) * 2 - 1
    ncct = torch.from_numpy(normalised).float().permute(2, 0, 1)[:, None]
    with torch.inference_mode():
        change = (model.network(ncct) - ncct)[:, 0].permute(1, 2, 0).double().numpy() * (high - low) / 2
    assert np.abs(change).mean() > 1
    body = (slice(8, 24), slice(8, 24))
    made = hu_of(outputs["a_syncta.nii.gz"])
    assert np.abs(made - (hu + change))[body].max() < 0.51
    made[body] = hu[body]
    assert (made != hu).mean() < 0.2  # the skin alone
    assert (made == hu)[:5].all()


@pytest.mark.parametrize("voxels", [(32, 32), (3, 0)])
@pytest.mark.parametrize("spacing", [None, [8.0, 8.0, 10.0]])
@pytest.mark.parametrize("run", ["trained_run", "run_3d"])
def test_more_air_around_the_patient_changes_nothing_inside(
    run: str,
    spacing: list[float] | None,
    voxels: tuple[int, int],
    scan: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    model = request.getfixturevalue(run)
    if spacing is not None:
        model = edited(model, tmp_path / "run", spacing=spacing)
    hu = hu_of(scan)
    save(tmp_path / "in" / "plain.nii.gz", hu, sform=(nib.load(scan).affine, 1))
    in_air = np.pad(hu, [voxels] * 3, constant_values=-1000)
    save(tmp_path / "in" / "in_air.nii.gz", in_air, sform=(nib.load(scan).affine, 1))
    outputs = synthesise(tmp_path / "in", tmp_path / "out", "--run", model)
    plain, other = (hu_of(outputs[f"{name}_syncta.nii.gz"]).astype(int) for name in ("plain", "in_air"))
    inside = tuple(slice(voxels[0], voxels[0] + size) for size in hu.shape)
    assert np.abs(plain - hu)[hu > -400].mean() > 1  # or it would prove nothing
    assert np.abs(plain - other[inside])[hu > -400].mean() < 1


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("plain.nii.gz", "plain"),
        ("plain.nii", "plain"),
        ("patient.1.2.840_ncct.nii.gz", "patient.1.2.840"),
        ("a_ncct_b_ncct.nii", "a_ncct_b"),
        ("P003/NCCT.nii.gz", "P003"),
        ("s0001/ct.nii.gz", "s0001"),
        ("B-12 (second).NII.GZ", "B-12 (second)"),
    ],
)
def test_the_output_is_named_after_the_case(name: str, case: str, identity_run: Path, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    save(tmp_path / "whole.nii" if ".gz" not in name.lower() else tmp_path / "whole.nii.gz", chest((32, 32, 2)))
    source = next(tmp_path.glob("whole*")).rename(tmp_path / name)
    outputs = synthesise(source, tmp_path / "out", "--run", identity_run)
    assert list(outputs) == [f"{case}_syncta.nii.gz"]
    assert hu_of(outputs[f"{case}_syncta.nii.gz"]).shape == (32, 32, 2)


def test_one_channel_in_a_fourth_axis_stays_there(identity_run: Path, tmp_path: Path) -> None:
    hu = chest((32, 32, 3))
    save(tmp_path / "a.nii.gz", hu[..., None])
    (path,) = synthesise(tmp_path / "a.nii.gz", tmp_path / "out", "--run", identity_run).values()
    assert np.array_equal(hu_of(path), hu[..., None])


def test_a_checkpoint_alone_is_as_good_as_its_run(trained_run: Path, scan: Path, tmp_path: Path) -> None:
    shutil.copy(trained_run / "checkpoint_best.pt", tmp_path / "sent_by_mail.pt")
    (by_run,) = synthesise(scan, tmp_path / "run", "--run", trained_run).values()
    (alone,) = synthesise(scan, tmp_path / "alone", "--checkpoint", tmp_path / "sent_by_mail.pt").values()
    assert alone.read_bytes() == by_run.read_bytes()


def test_the_averaged_weights_are_used(trained_run: Path, identity_run: Path, scan: Path, tmp_path: Path) -> None:
    # Only the average is zero in it; the network's own weights are those of the trained run.
    checkpoint = torch.load(identity_run / "checkpoint_best.pt", weights_only=True)
    assert any(value.any() for value in checkpoint["network"].values())
    (path,) = synthesise(scan, tmp_path / "out", "--run", identity_run).values()
    assert np.array_equal(hu_of(path), hu_of(scan))


def test_with_a_spacing_of_its_own_a_network_that_changes_nothing_gives_the_input_exactly(
    identity_run: Path, tmp_path: Path
) -> None:
    run = edited(identity_run, tmp_path / "spaced", spacing=[0.9, 0.85, 2.0])
    hu = chest((50, 44, 20))
    save(tmp_path / "a.nii.gz", hu, sform=(_rigid((0.75, 0.75, 1.5), mirrored=True), 1))
    (path,) = synthesise(tmp_path / "a.nii.gz", tmp_path / "out", "--run", run).values()
    assert np.array_equal(hu_of(path), hu)


def test_with_a_spacing_of_its_own_the_change_lies_where_it_belongs(trained_run: Path, tmp_path: Path) -> None:
    # The same anatomy, sampled twice as densely, and a network that sees the coarse grid in both cases.
    run = edited(trained_run, tmp_path / "spaced", spacing=[2.0, 2.0, 2.0])
    waves = np.sin(np.indices((80, 76, 30)).transpose(1, 2, 3, 0) @ np.array([0.11, 0.09, 0.13]))
    fine = (900 * waves).astype(np.int16)
    coarse = fine[::2, ::2, ::2]
    save(tmp_path / "in" / "fine.nii.gz", fine, sform=(np.diag([1.0, 1, 1, 1]), 1))
    save(tmp_path / "in" / "coarse.nii.gz", np.ascontiguousarray(coarse), sform=(np.diag([2.0, 2, 2, 1]), 1))
    outputs = synthesise(tmp_path / "in", tmp_path / "out", "--run", run)
    change = {name: hu_of(outputs[f"{name}_syncta.nii.gz"]) - hu for name, hu in (("fine", fine), ("coarse", coarse))}
    assert np.abs(change["coarse"]).mean() > 5
    inner = (slice(4, -4), slice(4, -4), slice(2, -2))
    assert np.abs(change["fine"][::2, ::2, ::2] - change["coarse"])[inner].max() <= 3
    assert nib.load(outputs["fine_syncta.nii.gz"]).shape == fine.shape


@pytest.mark.parametrize("batch_size", ["1", "7", "100"])
def test_the_batch_size_does_not_change_the_output(
    batch_size: str, trained_run: Path, scan: Path, tmp_path: Path
) -> None:
    (expected,) = synthesise(scan, tmp_path / "as_trained", "--run", trained_run).values()
    (path,) = synthesise(scan, tmp_path / "out", "--run", trained_run, "--batch-size", batch_size).values()
    # Other batches may be summed in another order: a value at .5 may be rounded the other way.
    assert np.abs(hu_of(path) - hu_of(expected)).max() <= 1


def test_half_precision_stays_close(trained_run: Path, scan: Path, tmp_path: Path) -> None:
    (full,) = synthesise(scan, tmp_path / "off", "--run", trained_run, "--amp", "off").values()
    (half,) = synthesise(scan, tmp_path / "bf16", "--run", trained_run, "--amp", "bf16").values()
    difference = np.abs(hu_of(full).astype(int) - hu_of(half))
    assert 0 < difference.mean() < 5


def test_a_network_of_patches_infers(run_3d: Path, scan: Path, tmp_path: Path) -> None:
    (path,) = synthesise(scan, tmp_path / "out", "--run", run_3d).values()
    change = hu_of(path).astype(int) - hu_of(scan)
    assert nib.load(path).shape == nib.load(scan).shape
    assert np.abs(change).mean() > 1


# Thinner or smaller than the patch, odd, one slice: what a network of patches gets in the clinic.
THIN = {
    "thin": (slice(None), slice(None), slice(10, 13)),
    "one_slice": (slice(None), slice(None), slice(10, 11)),
    "bar": (slice(20, 23), slice(None), slice(None)),
    "small": (slice(14, 21), slice(9, 20), slice(6, 11)),
    "odd": (slice(1, 44), slice(3, 38), slice(2, 23)),
}


@pytest.mark.parametrize("spacing", [None, [5.0, 5.0, 8.0]])
@pytest.mark.parametrize("run", ["trained_run", "run_3d"])
def test_a_volume_smaller_than_the_patch_is_synthesised_as_it_is(
    run: str, spacing: list[float] | None, scan: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(run)
    if spacing is not None:
        model = edited(model, tmp_path / "run", spacing=spacing)
    affine = nib.load(scan).affine
    for name, part in THIN.items():
        save(tmp_path / "in" / f"{name}.nii.gz", np.ascontiguousarray(hu_of(scan)[part]), sform=(affine, 1))
    outputs = synthesise(tmp_path / "in", tmp_path / "out", "--run", model)
    for name, part in THIN.items():
        synthetic = hu_of(outputs[f"{name}_syncta.nii.gz"])
        assert synthetic.shape == hu_of(scan)[part].shape
        assert 0 < np.abs(synthetic.astype(int) - hu_of(scan)[part]).max() < 1000, name


def test_a_network_of_patches_that_changes_nothing_gives_the_input_exactly(
    run_3d: Path, scan: Path, tmp_path: Path
) -> None:
    run = edited(run_3d, tmp_path / "identity", weights=torch.zeros_like)
    (path,) = synthesise(scan, tmp_path / "out", "--run", run).values()
    assert np.array_equal(hu_of(path), hu_of(scan))


def test_debug_logs_stages_and_goes_on(
    identity_run: Path, scan: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(synthesise(scan, tmp_path / "out", "--run", identity_run, "--debug")) == 1
    for part in ("phantom003: read: ", "(48, 48, 24) int16", "peak memory"):
        assert part in caplog.text


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_nrrd_and_mha_give_the_voxels_that_nifti_gives(
    suffix: str, cohort: Path, trained_run: Path, tmp_path: Path
) -> None:
    scan = cohort / "phantom003_ncct.nii.gz"
    (by_nifti,) = synthesise(scan, tmp_path / "nifti", "--run", trained_run).values()
    other = tmp_path / "scans" / f"phantom003_ncct{suffix}"
    other.parent.mkdir()
    sitk.WriteImage(sitk.ReadImage(str(scan), sitk.sitkInt16), str(other))
    (found,) = synthesise(other.parent, tmp_path / "out", "--run", trained_run).values()
    assert found.name == "phantom003_syncta.nii.gz"
    first, second = (nib.load(path) for path in (by_nifti, found))
    ras = [nib.as_closest_canonical(image) for image in (first, second)]
    assert np.array_equal(*(np.asarray(image.dataobj) for image in ras))
    assert np.allclose(ras[0].affine, ras[1].affine, atol=1e-3)
