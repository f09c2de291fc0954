"""An output counts as done only if it was made from this scan, these weights and these settings: its record says."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from made_scans import edited, hu_of, synthesise

from ncct_cta.common.files import sha256_of


@pytest.fixture
def p003(cohort: Path, tmp_path: Path) -> Path:
    (tmp_path / "P003").mkdir()
    return Path(shutil.copy(cohort / "phantom003_ncct.nii.gz", tmp_path / "P003" / "NCCT.nii.gz"))


def record_of(output: Path) -> dict:
    (record,) = output.glob("*_syncta.json")
    return json.loads(record.read_text())


def refusal(capsys: pytest.CaptureFixture[str], source: Path, output: Path, *words: str | Path) -> str:
    """Run the command, which must fail; give its last line."""
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        synthesise(source, output, *words)
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_two_patients_whose_files_have_one_name_get_an_output_each(
    p003: Path, cohort: Path, identity_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "P004").mkdir()
    p004 = Path(shutil.copy(cohort / "phantom002_ncct.nii.gz", tmp_path / "P004" / "NCCT.nii.gz"))
    for scan in (p003, p004):
        outputs = synthesise(scan, tmp_path / "out", "--run", identity_run)
    assert np.array_equal(hu_of(outputs["P003_syncta.nii.gz"]), hu_of(p003))
    assert np.array_equal(hu_of(outputs["P004_syncta.nii.gz"]), hu_of(p004))


def test_the_record_says_what_the_output_is_and_what_it_was_made_from(
    p003: Path, trained_run: Path, tmp_path: Path
) -> None:
    (path,) = synthesise(p003, tmp_path / "out", "--run", trained_run).values()
    record = record_of(tmp_path / "out")
    assert path.name == "P003_syncta.nii.gz"
    assert "Synthetic" in record["notice"]
    assert "Not for diagnosis" in record["notice"]
    assert record["made_from"]["input_sha256"] == sha256_of(p003)
    assert record["made_from"]["weights_sha256"] == sha256_of(trained_run / "checkpoint_best.pt")
    assert record["made_from"]["settings"]["window_hu"] == [-1000, 600]
    assert record["outputs"] == {path.name: sha256_of(path)}
    assert {"ncct-cta", "torch", "monai"} == record["versions"].keys() - {"openvino"}
    assert "P003/" not in json.dumps(record)


def test_what_was_made_from_the_same_is_skipped(
    p003: Path, trained_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = synthesise(p003, tmp_path / "out", "--run", trained_run).values()
    made = path.stat().st_mtime_ns
    with caplog.at_level(logging.INFO):
        synthesise(p003, tmp_path / "out", "--run", trained_run, "--batch-size", "1")
    assert path.stat().st_mtime_ns == made
    assert "1 were there already, made from the same scans with the same weights and settings: P003" in caplog.text
    synthesise(p003, tmp_path / "out", "--run", trained_run, "--overwrite")
    assert path.stat().st_mtime_ns != made


def test_what_was_made_from_something_else_is_left_and_said(
    p003: Path,
    cohort: Path,
    trained_run: Path,
    identity_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    (path,) = synthesise(p003, output, "--run", trained_run).values()
    before = path.read_bytes()
    assert "it was made from other weights;" in refusal(capsys, p003, output, "--run", identity_run)
    words = ("--run", trained_run, "--amp", "bf16")
    assert "it was made from other settings; --overwrite" in refusal(capsys, p003, output, *words)
    shutil.copy(cohort / "phantom002_ncct.nii.gz", p003)
    line = refusal(capsys, p003, output, "--run", trained_run)
    assert line.startswith(f"error: {path}: is there already, but it was made from another scan;")
    assert path.read_bytes() == before
    synthesise(p003, output, "--run", trained_run, "--overwrite")
    assert path.read_bytes() != before


def test_a_file_that_nothing_is_known_of_is_left_and_said(
    p003: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "P003_syncta.nii.gz").write_text("mine")
    line = refusal(capsys, p003, output, "--run", trained_run)
    assert "no P003_syncta.json beside it says what it was made from" in line
    (output / "P003_syncta.json").write_text('{"made_from": []}')
    assert "no P003_syncta.json beside it says" in refusal(capsys, p003, output, "--run", trained_run)
    assert (output / "P003_syncta.nii.gz").read_text() == "mine"


def test_a_file_that_was_changed_or_cut_short_is_not_done(
    p003: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path,) = synthesise(p003, tmp_path / "out", "--run", trained_run).values()
    path.write_bytes(path.read_bytes()[:-100])
    assert "it isn't the file that P003_syncta.json was written for" in refusal(
        capsys, p003, tmp_path / "out", "--run", trained_run
    )


def test_a_record_without_its_files_is_no_output(p003: Path, trained_run: Path, tmp_path: Path) -> None:
    (path,) = synthesise(p003, tmp_path / "out", "--run", trained_run).values()
    path.unlink()
    synthesise(p003, tmp_path / "out", "--run", trained_run)
    assert path.is_file()


def test_a_case_without_its_intermediates_is_made_again_and_a_whole_one_is_not(
    p003: Path, trained_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    synthesise(p003, tmp_path / "out", "--run", trained_run)
    outputs = synthesise(p003, tmp_path / "out", "--run", trained_run, "--save-intermediates")
    assert list(outputs) == [f"P003_{stage}.nii.gz" for stage in ("coarse", "intermediate", "syncta")]
    assert "were there already" not in caplog.text
    with caplog.at_level(logging.INFO):
        synthesise(p003, tmp_path / "out", "--run", trained_run, "--save-intermediates")
    assert "1 were there already" in caplog.text


def test_the_same_weights_under_another_name_are_the_same(
    p003: Path, trained_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(trained_run / "checkpoint_best.pt", tmp_path / "sent_by_mail.pt")
    synthesise(p003, tmp_path / "out", "--run", trained_run)
    with caplog.at_level(logging.INFO):
        synthesise(p003, tmp_path / "out", "--checkpoint", tmp_path / "sent_by_mail.pt")
    assert "1 were there already" in caplog.text


def test_weights_that_give_nan_write_nothing(
    p003: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_one_nan(weights: torch.Tensor) -> torch.Tensor:
        broken = weights.clone()
        broken.view(-1)[0] = float("nan")
        return broken

    run = edited(trained_run, tmp_path / "nan", weights=with_one_nan)
    line = refusal(capsys, p003, tmp_path / "out", "--run", run)
    assert "NaN" in line or "finite" in line
    assert list((tmp_path / "out").iterdir() if (tmp_path / "out").is_dir() else ()) == []
