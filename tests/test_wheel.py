"""A wheel holds the bundle and the presets, and trains in an empty folder, far from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = ("ncct_cta", "bundles", "configs", "setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:  # a copy: building leaves files beside the sources
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / "source" / name)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--no-cache-dir", "--disable-pip-version-check", "--wheel-dir", folder, folder / "source"),
        ],
        check=True,
        timeout=300,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def run_installed(installed: Path, cwd: Path, *words: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def relative(folder: Path, pattern: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob(pattern) if path.is_file()}


def test_the_wheel_holds_all_of_the_bundle_and_all_presets(installed):
    package = installed / "ncct_cta"
    assert relative(package / "presets", "*.yaml") == relative(CHECKOUT / "configs", "*.yaml")
    for folder in ("evaluate/report/assets", "prepare/templates", "runs/assets"):
        files = relative(CHECKOUT / "ncct_cta" / folder, "*")
        assert files
        assert relative(package / folder, "*") == files
    assert relative(package / "bundle", "configs/*") == relative(CHECKOUT / "bundles" / "ncct_cta", "configs/*")
    assert relative(package / "bundle", "docs/*") == relative(CHECKOUT / "bundles" / "ncct_cta", "docs/*")
    assert (package / "py.typed").is_file()


def test_the_wheel_holds_every_module(installed):
    own = {name for name in relative(installed / "ncct_cta", "*.py") if not name.startswith(("bundle/", "presets/"))}
    assert own == relative(CHECKOUT / "ncct_cta", "*.py")


def test_the_wheel_trains_in_an_empty_folder(installed, cohort, tiny_settings, tmp_path):
    imported = run_installed(installed, tmp_path, "-c", "import ncct_cta; print(ncct_cta.__file__)")
    assert Path(imported.strip()).is_relative_to(installed)
    run_installed(
        installed, tmp_path, "-m", "ncct_cta.train", "g_small", *tiny_settings, "--data::datalist", str(cohort),
        "--train::output_dir", "run", "--data::cache_dir", "cache",
    )  # fmt: skip
    assert (tmp_path / "run" / "checkpoint_best.pt").is_file()


def test_the_starter_in_the_wheel_gives_the_same_voxels_by_command_and_from_python(installed, cohort, tmp_path):
    scan = cohort / "phantom003_ncct.nii.gz"
    said = run_installed(installed, tmp_path, "-m", "ncct_cta", "infer", "--input", str(scan), "--output", "out")
    assert "these are the weights of the starter model" in said
    lines = f"""
import nibabel as nib, ncct_cta
made = ncct_cta.synthesize(nib.load({str(scan)!r}))
print((made.get_fdata() != nib.load("out/phantom003_syncta.nii.gz").get_fdata()).sum(), "voxels differ")
"""
    assert "0 voxels differ" in run_installed(installed, tmp_path, "-c", lines).splitlines()
