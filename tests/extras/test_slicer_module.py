"""The 3D Slicer module's logic, without Slicer: the command that it runs, what it loads, what it says."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import pytest

MODULE = Path(__file__).resolve().parents[2] / "extras" / "slicer" / "NcctCta.py"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("NcctCta", MODULE)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def program(folder: Path, code: str) -> str:
    """A program that stands for ncct-cta; ``words`` are its arguments."""
    path = folder / "ncct-cta"
    path.write_text(f"#!{sys.executable}\nimport os, shutil, sys\nwords = sys.argv[1:]\n{code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


WRITES = """
given = dict(zip(words[2::2], words[3::2]))
os.makedirs(given["--output"])
shutil.copy(given["--input"], os.path.join(given["--output"], "scan_syncta.nii.gz"))
"""


def test_the_command_names_the_run_only_where_there_is_one(module: ModuleType) -> None:
    common = ["p", "infer", "--quiet", "--input", "s", "--output", "o"]
    assert module.infer_command("p", "s", "o") == common
    assert module.infer_command("p", "s", "o", "runs/g") == [*common, "--run", "runs/g"]


def test_what_the_command_wrote_is_loaded_and_nothing_stays(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(module.tempfile, "tempdir", None)
    (tmp_path / "scan").write_bytes(b"voxels")
    found = module.synthesise(
        program(tmp_path, WRITES),
        lambda path: shutil.copy(tmp_path / "scan", path),
        lambda path: Path(path).read_bytes(),
    )
    assert found == b"voxels"
    assert {path.name for path in tmp_path.iterdir()} == {"scan", "ncct-cta"}


def test_what_the_command_says_is_raised(module: ModuleType, tmp_path: Path) -> None:
    failing = program(tmp_path, "sys.exit('error: scan.nii.gz: give the CT in HU')")
    with pytest.raises(RuntimeError, match=r"^error: scan\.nii\.gz: give the CT in HU$"):
        module.synthesise(failing, lambda path: Path(path).touch(), Path)


def test_slicers_own_python_is_kept_from_the_command(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/slicer")
    asks = program(tmp_path, "sys.exit('PYTHONHOME' in os.environ)")
    monkeypatch.setitem(os.environ, "LD_LIBRARY_PATH", "/slicer/lib")
    with pytest.raises(FileNotFoundError):  # it ended well, and wrote nothing
        module.synthesise(asks, lambda path: Path(path).touch(), lambda path: Path(path).read_bytes())


def test_the_module_is_short() -> None:
    assert len(MODULE.read_text().splitlines()) <= 90


@pytest.mark.slow
def test_it_runs_the_real_command(module: ModuleType, cohort: Path, trained_run: Path, tmp_path: Path) -> None:
    root = MODULE.parents[2]
    real = program(tmp_path, f"sys.path.insert(0, {str(root)!r})\nfrom ncct_cta.__main__ import main\nmain(words)")
    scan = cohort / "phantom003_ncct.nii.gz"
    shape = module.synthesise(
        real, lambda path: shutil.copy(scan, path), lambda path: nib.load(path).shape, str(trained_run)
    )
    assert shape == nib.load(scan).shape
