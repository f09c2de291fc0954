"""``prepare virtual`` as a user runs it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ncct_cta.data import read_case_list
from ncct_cta.phantom.cohort import make_case
from ncct_cta.prepare.command import main
from ncct_cta.volumes.nifti import read_ct


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a phantom's CTA, accepted whatever the gates say of so coarse a scan, and of a file that is none."""
    folder = tmp_path_factory.mktemp("virtual")
    case = make_case(5, shape=(96, 72, 40), spacing=(3.0, 3.0, 6.0))
    nib.save(nib.Nifti1Image(case.cta, case.affine), folder / "one.nii.gz")
    (folder / "masks").mkdir()
    nib.save(nib.Nifti1Image(case.vessel, case.affine), folder / "masks" / "one.nii.gz")
    (folder / "broken.nii.gz").write_bytes(b"no image")
    with pytest.raises(SystemExit) as ended:
        run(folder)
    assert ended.value.code == 3
    return folder


def run(folder: Path) -> None:
    scans = [str(folder / name) for name in ("one.nii.gz", "broken.nii.gz")]
    masks = str(folder / "masks")
    main(["virtual", *scans, "--masks", masks, "--output", str(folder / "out"), "--accept", "one", "--jobs", "1"])


def test_the_case_list_marks_its_cases_virtual(prepared: Path) -> None:
    cases = read_case_list(prepared / "out")["training"]
    assert [(case.name, case.virtual) for case in cases] == [("one", True)]
    assert cases[0].vessel is not None


def test_an_empty_mask_of_ignored_voxels_is_not_listed(prepared: Path) -> None:
    record = json.loads((prepared / "out" / "qc" / "one.json").read_text())
    mask = nib.load(prepared / "out" / "one_ignore.nii.gz").get_fdata() > 0
    case = read_case_list(prepared / "out")["training"][0]
    assert record["empty"] == ([] if mask.any() else ["ignore"])
    assert (case.ignore is None) == (not mask.any())


def test_the_cta_is_the_scan_and_the_ncct_lies_on_its_grid(prepared: Path) -> None:
    scan, ncct, cta = (read_ct(prepared / name) for name in ("one.nii.gz", "out/one_ncct.nii.gz", "out/one_cta.nii.gz"))
    np.testing.assert_array_equal(cta.array, scan.array)
    np.testing.assert_allclose(ncct.affine, scan.affine, atol=1e-5)
    assert ncct.array.max() <= cta.array.max() + 200


def test_what_was_drawn_is_recorded(prepared: Path) -> None:
    record = json.loads((prepared / "out" / "qc" / "one.json").read_text())
    assert record["virtual"] is True
    assert 30 <= record["drawn"]["blood_hu"] <= 60
    assert record["settings"]["seed"] == 0


def test_a_failure_is_named_without_stopping_the_others(prepared: Path) -> None:
    with open(prepared / "out" / "failures.csv", newline="") as file:
        assert [row["case"] for row in csv.DictReader(file)] == ["broken"]


def test_a_finished_case_is_not_made_again(prepared: Path) -> None:
    path = prepared / "out" / "one_ncct.nii.gz"
    before = path.stat().st_mtime_ns
    with pytest.raises(SystemExit):
        run(prepared)
    assert path.stat().st_mtime_ns == before
