"""The notebook runs from its first cell to its last, in an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "notebooks" / "phantoms.ipynb"
FEWER = "CASES, EPOCHS, STEPS = 3, 1, 2"


def code() -> list[str]:
    """The cells of code, those of the parameters with fewer steps."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = [cell for cell in cells if cell["cell_type"] == "code"]
    return [FEWER if "parameters" in cell["metadata"].get("tags", ()) else cell["source"] for cell in sources]


def test_the_notebook_holds_no_results_and_its_parameters_once() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if cell["cell_type"] == "code")
    assert code().count(FEWER) == 1
    for number, source in enumerate(code()):
        compile(source, f"cell {number}", "exec")


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join(code()), encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "epoch 1: vessels" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if " rest " in line] == ["identity", "hu_remap", "G"]
    assert (tmp_path / "evaluation" / "report.html").is_file()
