"""A short campaign, and that one sees what it looks for."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from . import forked
from .damage_scans import damage_dicom, damage_nifti
from .damage_texts import damage_checkpoint, damage_csv, damage_list, damage_yaml
from .findings import HANG, TRACEBACK, Findings, leftovers
from .forked import Stop, run
from .material import write_dicom

CHECKOUT = Path(__file__).resolve().parents[2]
SEED = 20  # another one finds other faults; this one is the tests'

pytestmark = pytest.mark.skipif(os.name != "posix", reason="every case runs in a fork")


@pytest.mark.slow
def test_a_short_campaign_finds_nothing() -> None:
    # Kills are for the night: when they strike depends on how busy the machine is, and CI must not.
    words = ["--cases", "40", "--kills", "0", "--disks", "4", "--seed", str(SEED)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns", *words],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"


def make_nifti(folder: Path) -> Path:
    path = folder / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.full((8, 8, 8), -900, np.int16), np.eye(4)), path)
    return path


def make_dicom(folder: Path) -> Path:
    write_dicom(make_nifti(folder), folder / "dicom")
    return folder / "dicom"


def make_yaml(folder: Path) -> Path:
    (folder / "a.yaml").write_text("train: {lr: 1, seed: 2}\ndata: {window: [1, 2]}\n")
    return folder / "a.yaml"


def make_list(folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps({"training": [{"ncct": "a", "cta": "b"}, {"ncct": "c"}]}))
    return folder / "a.json"


def make_csv(folder: Path) -> Path:
    (folder / "a.csv").write_text("case,ncct,cta\na,b,c\n")
    return folder / "a.csv"


def make_checkpoint(folder: Path) -> Path:
    content = {"network": {"w": torch.ones(2)}, "ema": {"w": torch.ones(2)}, "settings": {"train": {"lr": 1.0}}}
    torch.save(content, folder / "a.pt")
    return folder / "a.pt"


def content_of(path: Path) -> dict[str, bytes | None]:
    files = {path.name: path} if path.is_file() else {file.name: file for file in path.iterdir()}
    return {name: file.read_bytes() if file.is_file() else None for name, file in files.items()}


@pytest.mark.parametrize(
    ("make", "damage"),
    [
        (make_nifti, damage_nifti),
        (make_yaml, damage_yaml),
        (make_list, damage_list),
        (make_csv, damage_csv),
        (make_checkpoint, damage_checkpoint),
    ],
)
def test_the_same_seed_does_the_same_damage(make: Callable, damage: Callable, tmp_path: Path) -> None:
    changed = set()
    for seed in range(12):
        results = []
        for again in range(2):
            folder = tmp_path / f"{seed} {again}"
            folder.mkdir()
            path = make(folder)
            before = content_of(path)
            results.append((damage(random.Random(seed), path).name, content_of(path) if path.exists() else None))
            changed.add(results[-1][1] != before)
        assert results[0] == results[1]
    assert True in changed


def test_a_series_is_damaged_by_seed(tmp_path: Path) -> None:
    names = []
    for again in range(2):
        (tmp_path / str(again)).mkdir()
        names.append(damage_dicom(random.Random(4), make_dicom(tmp_path / str(again))).name)
    assert names[0] == names[1]


def fail(words: list[str]) -> None:
    raise ValueError(words[0])


def hang(words: list[str]) -> None:
    time.sleep(600)


def leave_a_process(words: list[str]) -> None:
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)


def leave_files(words: list[str]) -> None:
    Path(".hidden").touch()
    Path("a.nii.gz").write_bytes(gzip.compress(b"voxels")[:-4])
    Path("b.nii.gz").write_bytes(gzip.compress(b"voxels"))


@pytest.mark.parametrize(("command", "kind"), [(fail, TRACEBACK), (hang, HANG), (leave_a_process, HANG)])
def test_what_no_command_may_do_is_found(
    command: Callable, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked, "HANG_SECONDS", 1.0)
    monkeypatch.setattr(forked, "SECONDS_TO_FOLLOW", 1.0)
    findings = Findings()
    findings.judge("room", "--seed 1 --case 2", run(command, ["word"], tmp_path))
    assert list(findings.found) == [("room", kind)]
    assert findings.count == 1
    assert "--seed 1 --case 2" in findings.report()


def test_what_a_command_leaves_is_found(tmp_path: Path) -> None:
    ended = run(leave_files, [], tmp_path)
    assert ended.status == 0
    assert sorted(leftovers(tmp_path)) == [".hidden", "a.nii.gz (cut)"]


def test_a_signal_comes_when_it_should(tmp_path: Path) -> None:
    ended = run(hang, [], tmp_path, stop=Stop(after=0.5, number=signal.SIGKILL, to_group=False))
    assert ended.status == -signal.SIGKILL
    assert 0.4 < ended.seconds < 30


def test_a_warning_is_a_word(tmp_path: Path) -> None:
    assert run(lambda words: print("WARNING: odd"), [], tmp_path).has_word
    assert run(lambda words: sys.exit(2), [], tmp_path).has_word
    assert not run(lambda words: print("3 written"), [], tmp_path).has_word
