"""The bundle's inference and evaluation take any path, and execute none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ncct_cta.runs.literal_workflow import LiteralWorkflow
from ncct_cta.settings.places import bundle_config


def run(config: str, run_id: str, **values: object) -> None:
    workflow = LiteralWorkflow(bundle_config(config), run_id=run_id, logging_file=False, **values)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


@pytest.mark.parametrize("name", ["scans #2", "$scans", "@scans", "%scans", "$__import__('os').mkdir('victim')"])
def test_a_path_may_hold_any_letter(
    name: str, trained_run: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scans, trained = Path(name), Path(f"{name} run")
    scans.mkdir()
    shutil.copy(next(cohort.glob("*_ncct.nii.gz")), scans / "p_ncct.nii.gz")
    shutil.copytree(trained_run, trained)
    output = f"{name} out"
    run("inference.yaml", "run", input=name, output=output, run_dir=str(trained), device_name="cpu")
    assert (Path(output) / "p_syncta.nii.gz").is_file()
    run("evaluate.yaml", "evaluating", datalist=str(cohort), run_dir=str(trained), output=f"{name} eval", report=False)
    assert (Path(f"{name} eval") / "scores.csv").is_file()
    assert not Path("victim").exists()
