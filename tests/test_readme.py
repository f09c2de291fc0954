"""Every command of the README runs, in its order, in one folder: what it says is what a newcomer types."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from dicom_phantom import write_series

from ncct_cta.phantom.cohort import make_case, write_cohort
from ncct_cta.settings.sections import settings_table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()

# What a test can't run inside itself; .ci/run runs them in new virtual environments.
RUN_BY_CI = ("pip install", "pytest", "tensorboard")
# The same commands with fewer steps, so that all of them take minutes on two cores.
FEWER_STEPS = "--train::num_epochs 1 --train::steps_per_epoch 2 --train::batch_size 2"
SMALL_NET = "--data::patch_size [32,32] --model::channels [4,8] --model::num_res_units 0 --refine::hidden_dim 4"
SHAPE, SPACING = (48, 48, 24), (7.0, 7.0, 10.5)
SHORTER = {
    "ncct_cta.phantom": "--shape 48 48 24 --spacing 7 7 10.5",
    "ncct_cta.demo": "--cases 3 --steps 2",
    "ncct_cta.train": f"{FEWER_STEPS} {SMALL_NET} --discriminator::hidden_dim 4",
    "run training": f"{FEWER_STEPS} {SMALL_NET}",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


def runnable() -> list[str]:
    return [command for command in commands() if not command.startswith(RUN_BY_CI)]


def shortened(command: str) -> list[str]:
    words = shlex.split(command)
    for part, more in SHORTER.items():
        if part in command:
            words += shlex.split(more)
    if words[0] == "python":
        words[0] = sys.executable
    return words


def write_scans(folder: Path) -> None:
    """What the README takes for granted: a folder of NIfTI pairs, and one of a DICOM series."""
    write_cohort(folder / "scans", cases=6, seed=0, shape=SHAPE, spacing=SPACING)
    for path in (folder / "scans").iterdir():
        if not path.name.endswith(("_ncct.nii.gz", "_cta.nii.gz")):
            path.unlink()
    write_series(folder / "dicom", make_case(seed=1, shape=SHAPE, spacing=SPACING).ncct)


def test_the_settings_table_is_the_code_s() -> None:
    assert settings_table() in README


def test_every_preset_is_listed() -> None:
    for preset in (ROOT / "configs").rglob("*.yaml"):
        assert f"| `{preset.stem}` |" in README


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", README)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.slow
def test_every_command_runs(tmp_path: Path) -> None:
    for name in ("bundles", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    write_scans(tmp_path)
    (yaml_block,) = blocks("yaml")
    (tmp_path / "my_settings.yaml").write_text(yaml_block)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert len(runnable()) > 10
    for command in runnable():
        done = subprocess.run(
            shortened(command), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert list((tmp_path / "synthetic").glob("*_syncta.nii.gz"))
    assert (tmp_path / "runs" / "g" / "model.ts").is_file()
