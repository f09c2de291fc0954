from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# The least work that goes through all of a benchmark.
TINY = {
    "ablation": "--seconds 1 --seeds 1 --cases 3 --small --only base --refine root --adversary gan_0.01",
    "blood": "--cases 1 --voxel-mm 4 4 5",
    "planted_faults": "--shape 100 100 50",
    "data_loading": "--blocks 1 --threads 1",
    "discriminator_health": "--steps 100 --cases 3 --hidden-dim 4",
    "evaluate": "--shape 64 64 24",
    "false_enhancement": "",
    "inference": "--shape 96 96 6 --repeats 1",
    "registration_prepare": "",
    "report": "--cases 1 --shape 96 96 24",
    "same_weights": f"{shlex.quote(str(BENCHMARKS.parent))} " * 2 + "--presets g_small --steps 2",
    "scale": "--cases 3 --shape 64 64 24",
    "step": "--steps 1 --blocks 1 --compile",
    "uncertainty": "--members 2 --tta 2 --steps 2 --training 1 --validation 1 --testing 1",
    "starter": "--phantoms 1 --shape 96 72 40 --spacing 3 3 6.4 --epochs 1 --steps 1",
    "virtual_pairs": "--phantoms 1 --shape 96 72 40 --spacing 3 3 6",
    "virtual_classifier": "--patches 40 --steps 2 --labellings",
    "virtual_training": "--phantoms 3 --small --seconds 1",
    "registration": "--steps 2 --cases 3 --voxel-mm 3",
}


def test_no_benchmark_is_forgotten() -> None:
    assert {path.stem for path in BENCHMARKS.glob("*.py")} == TINY.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_runs_and_prints_figures(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *shlex.split(TINY[name])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert any(character.isdigit() for character in done.stdout)
    assert not list(tmp_path.iterdir())
