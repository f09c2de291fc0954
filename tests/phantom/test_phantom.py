"""The phantom is data that other tests stand on: what is claimed about it is checked here on small volumes."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.data import load_decathlon_datalist
from scipy.ndimage import binary_dilation, binary_erosion, label

from ncct_cta import phantom as command
from ncct_cta.common.errors import InputError
from ncct_cta.phantom.anatomy import Grid
from ncct_cta.phantom.cohort import PhantomCase, make_case, write_cohort
from ncct_cta.phantom.vessels import draw_cone

SMALL = {"shape": (48, 48, 24), "spacing": (7.0, 7.0, 10.5)}


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(3, 1)


def _inside_vessels(case: PhantomCase) -> np.ndarray:
    return binary_erosion(case.vessel, iterations=2)


def test_same_seed_writes_the_same_bytes_for_any_number_of_cases(tmp_path: Path) -> None:
    write_cohort(tmp_path / "long", cases=3, seed=5, motion_mm=5.0, **SMALL)
    write_cohort(tmp_path / "short", cases=1, seed=5, motion_mm=5.0, **SMALL)
    names = sorted(path.name for path in (tmp_path / "short").glob("*.nii.gz"))
    assert names == sorted(
        f"phantom000_{kind}.nii.gz" for kind in ("ncct", "cta", "lung", "vessel", "cta_aligned", "displacement")
    )
    for name in names:
        assert (tmp_path / "short" / name).read_bytes() == (tmp_path / "long" / name).read_bytes(), name


def test_gzip_header_holds_neither_time_nor_name(tmp_path: Path) -> None:
    write_cohort(tmp_path, cases=1, seed=0, **SMALL)
    header = (tmp_path / "phantom000_ncct.nii.gz").read_bytes()[:10]
    assert header[3] == 0  # flags: no file name
    assert header[4:8] == bytes(4)  # time


def test_the_field_of_view_varies_and_the_patient_in_it_stays() -> None:
    margins = set()
    for index in range(4):
        wide, plain = make_case(3, index, air=8, **SMALL), make_case(3, index, **SMALL)
        margin = (wide.ncct.shape[0] - plain.ncct.shape[0]) // 2
        inside = (slice(margin, margin + 48), slice(margin, margin + 48))
        assert np.array_equal(wide.lung[inside], plain.lung)
        assert np.array_equal(wide.vessel[inside], plain.vessel)
        assert wide.vessel.sum() == plain.vessel.sum()
        offset = wide.affine @ [margin, margin, 0, 1]
        assert offset == pytest.approx(plain.affine @ [0, 0, 0, 1])  # the same voxel at the same place
        margins.add(margin)
    assert len(margins) > 1


def test_seed_and_index_change_the_anatomy() -> None:
    first, other_seed, other_index = (make_case(seed, index, **SMALL) for seed, index in ((0, 0), (1, 0), (0, 1)))
    assert (first.vessel != other_seed.vessel).sum() > 100
    assert (first.vessel != other_index.vessel).sum() > 100


def test_blood_enhances_and_the_two_sides_of_the_heart_differ(case: PhantomCase) -> None:
    inside = _inside_vessels(case)
    assert case.ncct[inside].mean() == pytest.approx(40, abs=5)
    parts, count = label(inside & (case.cta > 200))
    assert count > 0
    blood = np.sort(case.cta[parts > 0])
    # Two populations: a split at their middle must leave two narrow groups (noise only) that lie apart.
    middle = (np.percentile(blood, 10) + np.percentile(blood, 90)) / 2
    low, high = blood[blood < middle], blood[blood >= middle]
    assert 250 < np.median(low) < np.median(high) - 30 < 450 - 30
    assert low.std() < 0.5 * blood.std()
    assert high.std() < 0.5 * blood.std()


def test_only_blood_changes_between_ncct_and_cta(case: PhantomCase) -> None:
    far_from_blood = ~binary_dilation(case.cta.astype(int) - case.ncct > 80, iterations=2)
    body = far_from_blood & (case.ncct > -300)
    change = case.cta.astype(float) - case.ncct
    assert body.sum() > 50_000
    assert abs(change[body].mean()) < 0.5
    assert 10 * 2**0.5 - 1 < change[body].std() < 15 * 2**0.5 + 2


def test_noise_is_correlated_in_space_and_independent_between_the_scans(case: PhantomCase) -> None:
    # In the air outside the body the noise-free phantom is constant.
    ncct, cta = (volume[:, :12, :].astype(float) + 1000 for volume in (case.ncct, case.cta))
    assert 9 < ncct.std() < 16
    assert 9 < cta.std() < 16
    assert abs(np.corrcoef(ncct.ravel(), cta.ravel())[0, 1]) < 0.05
    assert np.corrcoef(ncct[1:].ravel(), ncct[:-1].ravel())[0, 1] > 0.3


@pytest.mark.parametrize("grid", [{}, SMALL], ids=["default", "small"])
@pytest.mark.parametrize("index", range(3))
def test_two_lungs_of_plausible_size(index: int, grid: dict[str, tuple]) -> None:
    case = make_case(11, index, **grid)
    parts, count = label(case.lung)
    sizes = np.sort(np.bincount(parts.ravel())[1:])[::-1]
    litres = sizes * abs(np.linalg.det(case.affine)) / 1e6
    assert count >= 2
    assert (litres[:2] > 0.8).all()
    assert (litres[:2] < 3).all()
    assert sizes[2:].sum() < 0.005 * sizes.sum()
    # The right lung lies at small x indices: x runs to the patient's left.
    liver_side = case.lung[: case.lung.shape[0] // 2].sum()
    assert liver_side == pytest.approx(sizes.sum() / 2, rel=0.25)


def test_lung_holds_its_vessels_but_no_trachea(case: PhantomCase) -> None:
    assert ((case.lung == 1) & (case.vessel == 1)).sum() > 500
    parenchyma = case.ncct[(case.lung == 1) & (case.vessel == 0)]
    assert np.median(parenchyma) == pytest.approx(-850, abs=45)
    # The trachea is air in the middle of the upper body; none of it is lung.
    middle = (slice(44, 52), slice(42, 56), slice(50, 60))
    trachea = case.ncct[middle] < -950
    assert trachea.sum() > 20
    assert not case.lung[middle][trachea].any()
    # The main bronchi end beyond the hilum; their air must not count as lung either.
    assert (case.ncct[case.lung == 1] < -965).mean() < 1e-4


def test_no_vessel_outside_the_body(case: PhantomCase) -> None:
    assert case.ncct[case.vessel == 1].min() > -600
    outside, _ = label(case.ncct < -500)
    air = outside == outside[0, 0, 0]
    assert not (case.vessel[air] == 1).any()


def test_thin_vessels_keep_their_partial_volume(case: PhantomCase) -> None:
    lung = binary_erosion(case.lung)
    partial = (case.ncct[lung] > -700) & (case.ncct[lung] < -100)
    full = case.ncct[lung] > -100
    assert partial.sum() > full.sum() > 50


@pytest.mark.parametrize("radius", [0.3, 0.6, 1.2, 3.0])
def test_a_drawn_vessel_fills_its_own_volume(radius: float) -> None:
    x, y, z = (np.arange(24, dtype=np.float32) * size for size in (1.0, 1.0, 2.0))
    grid = Grid(x[:, None, None], y[None, :, None], z[None, None, :], (1.0, 1.0, 2.0))
    fraction = np.zeros((24, 24, 24), np.float32)
    start, end = np.array([6.3, 5.1, 12.2, radius]), np.array([17.2, 16.4, 33.7, radius])
    draw_cone(fraction, grid, start, end)
    length = np.linalg.norm(end[:3] - start[:3])
    volume = np.pi * radius**2 * (length + 4 / 3 * radius)
    assert 2.0 * fraction.sum() == pytest.approx(volume, rel=0.12)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((24, 24, 8), (14.0, 14.0, 30.0)), ((64, 48, 20), (5.0, 7.0, 14.0)), ((40, 40, 40), (1, 1, 1))],
)
def test_any_field_of_view_holds_the_whole_thorax(shape: tuple, spacing: tuple) -> None:
    case = make_case(0, 0, shape=shape, spacing=spacing)
    assert case.ncct.shape == shape
    assert case.ncct[0].max() < -800  # air beside the body
    assert case.ncct[:, 0].max() < -800
    assert not case.lung[..., -1].any()  # the apices lie within
    assert case.vessel.any()
    assert not case.lung[[0, -1]].any()


def test_affine_is_a_scanners(tmp_path: Path) -> None:
    write_cohort(tmp_path, cases=1, seed=0, **SMALL)
    image = nib.load(tmp_path / "phantom000_ncct.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert np.abs(image.affine[:3, 3]).min() > 1
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    assert image.get_data_dtype() == np.int16
    assert nib.load(tmp_path / "phantom000_vessel.nii.gz").get_data_dtype() == np.uint8


@pytest.mark.parametrize(("cases", "sizes"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (8, (6, 1, 1))])
def test_monai_reads_the_datalist(tmp_path: Path, cases: int, sizes: tuple[int, int, int]) -> None:
    path = write_cohort(tmp_path, cases=cases, seed=0, shape=(24, 24, 8), spacing=(14.0, 14.0, 32.0))
    assert tuple(len(json.loads(path.read_text())[key]) for key in ("training", "validation", "testing")) == sizes
    entries = load_decathlon_datalist(path, is_segmentation=False, data_list_key="training", base_dir=tmp_path)
    assert entries[0]["case"] == "phantom000"
    written = json.loads(path.read_text())["training"][0]
    assert all((tmp_path / written[kind]).is_file() for kind in ("ncct", "cta", "lung", "vessel"))


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    write_cohort(tmp_path, cases=1, seed=0, **SMALL)
    assert not list(tmp_path.glob(".*"))
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--cases", "0"], "0 cases"),
        (["--spacing", "3", "0", "3"], "spacing"),
        (["--spacing", "nan", "3", "3"], "spacing"),
        (["--shape", "4", "48", "24"], "shape"),
        (["--motion-mm", "200"], "motion"),
        (["--motion-mm", "-1"], "motion"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_bad_values_give_one_line_and_status_2(
    arguments: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["--output", str(tmp_path / "out"), *arguments])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert named in lines[0]
    assert not (tmp_path / "out").exists()


def test_unwritable_folder_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't write to"):
        write_cohort(tmp_path / "file" / "out", cases=1, seed=0, **SMALL)


def test_command_writes_a_cohort(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["--output", str(tmp_path), "--cases", "1", "--shape", "24", "24", "8", "--spacing", "14", "14", "32"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "datalist.json")
    assert (tmp_path / "phantom000_cta.nii.gz").is_file()
