"""The user's own segmentation: run on every CTA, its failures one line each, its files used again."""

from __future__ import annotations

import csv
import shlex
import sys
from pathlib import Path

import pytest

from ncct_cta.common.errors import InputError
from ncct_cta.evaluate import segmentation
from ncct_cta.evaluate.command import main
from ncct_cta.evaluate.segmentation import Segmentation

PROGRAM = """
import sys
import nibabel as nib
import numpy as np
source, target, threshold = sys.argv[1], sys.argv[2], float(sys.argv[3])
image = nib.load(source)
nib.save(nib.Nifti1Image((image.get_fdata() > threshold).astype(np.uint8), image.affine), target)
with open({log!r}, "a") as log:
    print(source, file=log)
"""
CASE = "phantom003"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "my program.py"  # with a space
    path.write_text(PROGRAM.format(log=str(tmp_path / "log")))
    return path


def command(*words: object) -> str:
    return shlex.join([sys.executable, *map(str, words)])


def test_what_is_found_in_prediction_and_cta_is_compared(cohort: Path, program: Path, tmp_path: Path) -> None:
    words = ["--datalist", str(cohort), "--output", str(tmp_path / "out"), "--no-report"]
    segment = command(program, "{input}", "{output}", 150)
    main([*words, "--segment", segment])
    with (tmp_path / "out" / "scores.csv").open() as file:
        identity = next(csv.DictReader(file))
    assert 0 < float(identity["segment_dice"]) < 1  # bone alone
    assert 0 < float(identity["segment_volume_ratio"]) < 1
    ran = (tmp_path / "log").read_text().splitlines()
    assert len(ran) == 3  # CTA, identity, HU remap
    main([*words, "--segment", segment])
    assert (tmp_path / "log").read_text().splitlines() == ran
    main([*words, "--segment", command(program, "{input}", "{output}", 200)])
    assert len((tmp_path / "log").read_text().splitlines()) == 6
    program.write_text(program.read_text() + "\n")  # a new version under the same name
    main([*words, "--segment", command(program, "{input}", "{output}", 200)])
    assert len((tmp_path / "log").read_text().splitlines()) == 9


def test_without_it_there_are_no_columns_of_it(cohort: Path, tmp_path: Path) -> None:
    main(["--datalist", str(cohort), "--output", str(tmp_path), "--no-report"])
    assert "segment_" not in (tmp_path / "scores.csv").read_text()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; sys.exit('no GPU')", "failed with status 1: no GPU"),
        ("", "wrote nothing to {output}"),
        ("import time; time.sleep(60)", "took longer than 2 s for a volume and was stopped"),
        ("import sys; open(sys.argv[2], 'w').write('x')", ""),
    ],
    ids=["fails", "writes nothing", "takes too long", "writes no mask"],
)
def test_its_failure_is_the_cases(cohort, tmp_path, monkeypatch, capsys, script: str, words: str) -> None:
    monkeypatch.setattr(segmentation, "MOST_SECONDS", 2.0)
    arguments = ["--datalist", str(cohort), "--output", str(tmp_path), "--no-report"]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--segment", command("-c", script, "{input}", "{output}")])
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert words in line


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("no_such_program_here {input} {output}", "there is no program"),
        (f"{sys.executable} {{input}}", "expected {output} as a word of its own"),
        (f"{sys.executable} --in={{input}} {{output}}", "expected {input} as a word of its own"),
        (f"{sys.executable} '{{input}} {{output}}", "close the quotes"),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_anything_runs(given: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        Segmentation.parse(given)
    assert words in str(refused.value)


def test_no_shell_sees_the_command(tmp_path: Path) -> None:
    words = Segmentation.parse(f"{sys.executable} -c 'import sys' {{input}} {{output}} ; touch {tmp_path / 'made'}")
    with pytest.raises(InputError, match="wrote nothing"):
        words.run(tmp_path / "$(touch made).nii.gz", tmp_path / "mask.nii.gz")
    assert not (tmp_path / "made").exists()
