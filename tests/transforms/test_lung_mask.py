"""The lung mask on a drawn chest, where the truth is known, and on real CT where it lies beside the checkout."""

from __future__ import annotations

import numpy as np
import pytest
from shared_data import SHARED_DATA

from ncct_cta.common.errors import InputError
from ncct_cta.transforms.lung_mask import compute_lung_mask
from ncct_cta.volumes.nifti import read_ct, read_mask
from ncct_cta.volumes.orientation import spacing_to_ras, to_ras

FIELD_MM = (400.0, 336.0, 300.0)
SPACING = (4.0, 4.0, 5.0)
FINE = (2.0, 2.0, 10.0)  # fine enough within the slice for a table's shell
AIR, GAS, FOAM, LUNG, STOOL, TISSUE = -1000, -1000, -930, -850, -600, 40


class Chest:
    """A body of 340 x 240 mm with two lungs, trachea and main bronchi, drawn in mm around the volume's centre."""

    def __init__(self, spacing: tuple[float, float, float] = SPACING) -> None:
        shape = [round(e / s) for e, s in zip(FIELD_MM, spacing, strict=True)]
        axes = [(np.arange(n) + 0.5) * s - n * s / 2 for n, s in zip(shape, spacing, strict=True)]
        self.x, self.y, self.z = np.meshgrid(*axes, indexing="ij")
        self.hu = np.full(shape, AIR, np.int16)
        self.hu[self.ellipsoid((0, 0, 0), (170, 120, 1e6))] = TISSUE
        self.lung = self.ellipsoid((-85, 0, -10), (60, 85, 110)) | self.ellipsoid((85, 0, -10), (60, 85, 110))
        self.hu[self.lung] = LUNG
        self.trachea = self.ellipsoid((0, -20, 0), (9, 9, 1e6)) & (self.z > 30)
        self.bronchi = (abs(self.x) < 60) & (((self.y + 20) ** 2 + (self.z - 30) ** 2) < 8**2)
        self.hu[self.trachea | self.bronchi] = AIR
        self.lung &= ~self.bronchi

    def ellipsoid(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        parts = [((axis - c) / r) ** 2 for axis, c, r in zip((self.x, self.y, self.z), centre, radii, strict=True)]
        return parts[0] + parts[1] + parts[2] <= 1


@pytest.fixture
def chest() -> Chest:
    return Chest()


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a > 0, b > 0
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_both_lungs_are_found(chest: Chest) -> None:
    mask = compute_lung_mask(chest.hu, SPACING)
    assert mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}
    assert _dice(mask, chest.lung) > 0.97


def test_trachea_and_main_bronchi_are_left_out(chest: Chest) -> None:
    mask = compute_lung_mask(chest.hu, SPACING)
    assert not mask[chest.trachea].any()
    assert not mask[chest.bronchi & (abs(chest.x) < 15)].any()


def test_bulla_that_opens_into_a_bronchus_stays_in_the_lung(chest: Chest) -> None:
    bulla = chest.ellipsoid((115, -20, 10), (15, 15, 25))
    branch = (chest.x > 50) & (chest.x < 115) & (abs(chest.y + 20) < 6) & (abs(chest.z - 30) < 6)
    chest.hu[bulla | branch] = AIR
    assert compute_lung_mask(chest.hu, SPACING)[bulla].all()


def test_vessels_and_a_nodule_at_the_pleura_are_inside() -> None:
    chest = Chest(FINE)
    vessel = chest.ellipsoid((85, 0, 0), (45, 5, 5))
    nodule = chest.ellipsoid((-139, 0, -15), (7, 7, 7)) & chest.lung
    assert nodule.any()
    chest.hu[vessel | nodule] = TISSUE
    mask = compute_lung_mask(chest.hu, FINE)
    assert mask[vessel].all()
    assert mask[nodule].mean() > 0.5  # at its rim the border is drawn by HU, as everywhere


def test_mattress_that_table_and_blanket_close_in_is_left_out() -> None:
    chest = Chest(FINE)
    below = (chest.y < -10) & (abs(chest.x) < 164) & (chest.hu == AIR) & ~chest.trachea & ~chest.bronchi
    chest.hu[below & (chest.y > -140)] = FOAM
    chest.hu[(chest.y > -140) & (chest.y < -136) & (abs(chest.x) < 190)] = 100
    chest.hu[(chest.y < -10) & (chest.y > -140) & (abs(abs(chest.x) - 162) < 2)] = 0
    mask = compute_lung_mask(chest.hu, FINE)
    assert _dice(mask, chest.lung) > 0.97
    assert not mask[chest.y < -122].any()


def test_lung_behind_a_thin_chest_wall_is_found() -> None:
    chest = Chest(FINE)
    chest.hu[(chest.x > 148) & (abs(chest.y) < 14)] = AIR
    assert _dice(compute_lung_mask(chest.hu, FINE), chest.lung) > 0.97


def test_gas_in_the_stomach_is_left_out(chest: Chest) -> None:
    chest.hu[chest.lung & (chest.z < -40)] = TISSUE
    gas = chest.ellipsoid((80, 30, -100), (50, 50, 40))
    chest.hu[gas] = GAS
    mask = compute_lung_mask(chest.hu, SPACING)
    assert mask.any()
    assert not mask[gas].any()


def test_lungs_that_touch_are_both_found_and_what_lies_between_is_not_bridged(chest: Chest) -> None:
    recess = (abs(chest.x) < 40) & (abs(chest.y - 40) < 22) & (abs(chest.z + 10) < 60)
    septum = recess & (abs(chest.x) < 4)
    opening = septum & (abs(chest.z + 10) < 5)
    chest.hu[recess] = LUNG
    chest.hu[septum & ~opening] = TISSUE
    mask = compute_lung_mask(chest.hu, SPACING)
    assert _dice(mask, chest.lung | recess & ~septum) > 0.97
    assert not mask[septum & (abs(chest.z + 10) > 20)].any()


def test_flips_and_exchanged_axes_turn_the_mask_alone(chest: Chest) -> None:
    mask = compute_lung_mask(chest.hu, SPACING)
    np.testing.assert_array_equal(compute_lung_mask(chest.hu[::-1, ::-1], SPACING)[::-1, ::-1], mask)
    np.testing.assert_array_equal(compute_lung_mask(chest.hu.swapaxes(0, 1), SPACING).swapaxes(0, 1), mask)


def test_file_order_does_not_matter_after_to_ras(chest: Chest) -> None:
    mask = compute_lung_mask(chest.hu, SPACING)
    stored = chest.hu[:, ::-1, ::-1].transpose(2, 0, 1)  # sagittal-like storage, head first
    affine = np.array([[0, 4.0, 0, 0], [0, 0, -4.0, 0], [-5.0, 0, 0, 0], [0, 0, 0, 1]])
    turned, orientation = to_ras(stored, affine)
    spacing = spacing_to_ras((5.0, 4.0, 4.0), orientation)
    np.testing.assert_array_equal(compute_lung_mask(turned, spacing), mask)


def test_thin_slices_give_the_border_of_the_fine_grid(chest: Chest) -> None:
    fine = chest.hu.repeat(4, axis=0).repeat(4, axis=1)[60:-60, 40:-40]
    truth = chest.lung.repeat(4, axis=0).repeat(4, axis=1)[60:-60, 40:-40]
    assert _dice(compute_lung_mask(fine, (1.0, 1.0, 5.0)), truth) > 0.97


@pytest.mark.parametrize("margin", [8, 16], ids=["body cut", "lungs cut"])
def test_image_may_cut_the_body_at_its_sides(chest: Chest, margin: int) -> None:
    mask = compute_lung_mask(chest.hu[margin:-margin], SPACING)
    assert _dice(mask, chest.lung[margin:-margin]) > 0.97


def test_padding_outside_the_scan_circle_does_no_harm(chest: Chest) -> None:
    chest.hu[chest.x**2 + chest.y**2 > 165**2] = -3024
    assert _dice(compute_lung_mask(chest.hu, SPACING), chest.lung) > 0.97


def test_noise_of_a_sharp_kernel_does_little_harm(chest: Chest) -> None:
    noise = np.random.default_rng(0).normal(0, 60, chest.hu.shape)
    assert _dice(compute_lung_mask((chest.hu + noise).astype(np.float32), SPACING), chest.lung) > 0.97


@pytest.mark.parametrize(("content", "radii"), [(GAS, (40, 40, 80)), (STOOL, (20, 20, 60))], ids=["gas", "stool"])
def test_abdomen_has_no_lungs(chest: Chest, content: int, radii: tuple[float, float, float]) -> None:
    chest.hu[chest.lung | chest.trachea | chest.bronchi] = TISSUE
    chest.hu[chest.ellipsoid((40, 40, 0), radii)] = content
    with pytest.raises(InputError, match=r"no lungs found: .* holds \d+ ml, expected .* of the body's \d+ ml"):
        compute_lung_mask(chest.hu, SPACING)


def test_air_alone_has_no_lungs() -> None:
    with pytest.raises(InputError, match="no lungs found: nothing above -400 HU"):
        compute_lung_mask(np.full((20, 20, 20), AIR, np.int16), SPACING)


def test_four_axes_are_refused(chest: Chest) -> None:
    with pytest.raises(ValueError, match=r"hu is \(1, 100, 84, 60\)"):
        compute_lung_mask(chest.hu[None], SPACING)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ncct", "cta"])
@pytest.mark.parametrize("case", ["lidc0001", "cmbcrc"])
def test_real_ct_agrees_with_its_reference_mask(case: str, kind: str) -> None:
    folder = SHARED_DATA / "pairs"
    if not folder.is_dir():
        pytest.skip(f"no real CT at {folder}; set NCCT_CTA_SHARED to the folder that holds data/pairs")
    volume = read_ct(folder / f"{case}_{kind}.nii.gz")
    hu, orientation = to_ras(volume.array, volume.affine)
    reference, _ = to_ras(read_mask(folder / f"{case}_lung.nii.gz", volume), volume.affine)
    assert _dice(compute_lung_mask(hu, spacing_to_ras(volume.spacing, orientation)), reference) > 0.97
