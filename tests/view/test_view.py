"""A page with the viewer alone: whose images it shows, in which order, and that they lie on one grid."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import pytest

from ncct_cta.view import command
from ncct_cta.view.command import main


@pytest.fixture
def folder(cohort: Path, tmp_path: Path) -> Path:
    """Two cases, one with a prediction."""
    made = tmp_path / "cases"
    made.mkdir()
    for case in ("phantom000", "phantom001"):
        for kind in ("ncct", "cta", "lung"):
            shutil.copy(cohort / f"{case}_{kind}.nii.gz", made)
    shutil.copy(cohort / "phantom000_ncct.nii.gz", made / "phantom000_syncta.nii.gz")
    return made


def data_of(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    return json.loads(found[1])


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, words), "--no-browser"])
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_case_is_shown_with_the_scan_first_and_the_cta_last(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "view.html"
    main([str(folder), "--case", "phantom000", "--output", str(page), "--no-browser"])
    data = data_of(page)
    assert data["names"] == ["NCCT", "synthetic CTA", "CTA"]
    assert data["errors"]
    assert len(data["cases"][0]["volumes"]) == 3
    text = page.read_text()
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "phantom001" not in text


def test_files_are_shown_by_their_names_in_the_order_given(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "view.html"
    main(
        [
            *(str(folder / f"phantom001_{kind}.nii.gz") for kind in ("cta", "ncct")),
            "--output",
            str(page),
            "--no-browser",
        ]
    )
    assert data_of(page)["names"] == ["phantom001_cta", "phantom001_ncct"]


def test_a_single_volume_has_no_row_of_errors(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "view.html"
    main([str(folder / "phantom001_ncct.nii.gz"), "--output", str(page), "--no-browser"])
    assert not data_of(page)["errors"]
    assert re.search(r'id="viewer-legend" hidden', page.read_text())


def test_the_page_is_opened_unless_told_not_to(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    page = tmp_path / "a page.html"
    main([str(folder / "phantom001_ncct.nii.gz"), "--output", str(page)])
    assert opened == [page.as_uri()]


def test_several_cases_or_none_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds 2 cases (phantom000, phantom001), expected one; choose one by --case" in refusal(capsys, folder)
    assert "holds no case x, expected one of phantom000" in refusal(capsys, folder, "--case", "x")
    (tmp_path / "empty").mkdir()
    assert "holds 0 cases, expected one; give the files" in refusal(capsys, tmp_path / "empty")


def test_images_on_two_grids_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = nib.load(folder / "phantom000_cta.nii.gz")
    nib.save(image.slicer[:, :, 2:], tmp_path / "shorter.nii.gz")
    line = refusal(capsys, folder / "phantom000_ncct.nii.gz", tmp_path / "shorter.nii.gz")
    assert "phantom000_ncct is (48, 48, 24), shorter is (48, 48, 22); resample them onto one grid" in line
