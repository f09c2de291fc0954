"""Inference on a dask cluster: the files, the lines and the exits of one machine, whatever becomes of a worker."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from left_as_found import logging_left_as_found
from made_scans import edited, synthesise

from ncct_cta.common.errors import InputError
from ncct_cta.data import Case
from ncct_cta.engines import InferenceEngine
from ncct_cta.engines import inference as engine_module
from ncct_cta.infer import on_cluster
from ncct_cta.infer.options import InferenceOptions

CASES = [f"phantom{number:03}" for number in range(4)]
CHOICES = ("--save-intermediates", "--uncertainty", "--tta", "2")


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    from distributed import Client

    with Client(cluster.scheduler_address, set_as_default=False) as connected:
        yield connected


@pytest.fixture(scope="module")
def scans(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four NCCTs, and one that can't be read."""
    folder = tmp_path_factory.mktemp("scans")
    for name in CASES:
        os.link(cohort / f"{name}_ncct.nii.gz", folder / f"{name}_ncct.nii.gz")
    (folder / "bad_ncct.nii.gz").write_bytes(b"no scan")
    return folder


@pytest.fixture(scope="module")
def written(cluster: Any, scans: Path, trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What one machine and the cluster write."""
    folder = tmp_path_factory.mktemp("written")
    for place, words in (("here", ()), ("there", ("--scheduler", cluster.scheduler_address))):
        with logging_left_as_found(), pytest.raises(SystemExit, match="3"):
            synthesise(scans, folder / place, "--run", trained_run, *CHOICES, *words)
    return {place: folder / place for place in ("here", "there")}


def states(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.slow
def test_the_files_are_those_of_one_machine(written: dict[str, Path]) -> None:
    here, there = ({path.name: path for path in folder.iterdir()} for folder in written.values())
    assert here.keys() == there.keys()
    assert len(here) == 5 * len(CASES)  # four volumes and a record of each
    for name, path in here.items():
        if path.suffix == ".json":
            one, other = (json.loads(each.read_text()) for each in (path, there[name]))
            assert one | {"written": ""} == other | {"written": ""}
        else:
            assert path.read_bytes() == there[name].read_bytes(), name


@pytest.mark.slow
def test_again_it_does_what_is_missing_and_says_the_same_of_the_rest(
    cluster: Any, scans: Path, trained_run: Path, written: dict[str, Path], tmp_path: Path, caplog, capsys
) -> None:
    said = {}
    for place, words in (("here", ()), ("there", ("--scheduler", cluster.scheduler_address))):
        folder = tmp_path / place
        shutil.copytree(written[place], folder)
        (folder / "phantom001_syncta.nii.gz").unlink()
        before = states(folder)
        caplog.clear()
        with caplog.at_level(logging.INFO), pytest.raises(SystemExit, match="3"):
            synthesise(scans, folder, "--run", trained_run, *CHOICES, *words)
        changed = {name for name, state in states(folder).items() if before.get(name) != state}
        assert {name.split("_")[0] for name in changed} == {"phantom001"}
        lines = [record.getMessage() for record in caplog.records if record.name.startswith("ncct_cta")]
        said[place] = [line.replace(str(folder), "") for line in (*lines, *capsys.readouterr().err.splitlines())]
    assert said["here"] == said["there"]
    assert any("bad_ncct.nii.gz" in line for line in said["there"])
    assert any(line.startswith("3 were there already") for line in said["there"])


def _count_loads() -> None:
    """Let a worker count how often it loads a model."""
    load, on_cluster.loads = on_cluster.load_model, 0  # type: ignore[attr-defined]

    def counted(options: InferenceOptions) -> Any:
        on_cluster.loads += 1  # type: ignore[attr-defined]
        return load(options)

    on_cluster.load_model = counted  # type: ignore[assignment]


def _loads() -> int:
    return on_cluster.loads  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_worker_loads_the_model_once_and_it_is_warned_of_once(
    cluster: Any, client: Any, scans: Path, tmp_path: Path, caplog
) -> None:
    client.run(_count_loads)
    (scans / "bad_ncct.nii.gz").rename(tmp_path / "bad_ncct.nii.gz")
    try:
        synthesise(scans, tmp_path / "out", "--scheduler", cluster.scheduler_address)  # the starter model
    finally:
        (tmp_path / "bad_ncct.nii.gz").rename(scans / "bad_ncct.nii.gz")
    assert len(list((tmp_path / "out").glob("*_syncta.nii.gz"))) == len(CASES)
    assert max(client.run(_loads).values()) == 1
    assert sum("starter model" in record.getMessage() for record in caplog.records) == 1


def _die_once_half_a_file_is_written() -> None:
    """Let a worker be killed by its next case; the one that takes its place is as it should be."""

    def die(path: Path) -> str:
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    engine_module.sha256_of = die  # type: ignore[assignment]


@pytest.mark.slow
def test_the_cases_of_a_killed_worker_are_done_by_another(
    cluster: Any, client: Any, cohort: Path, trained_run: Path, written: dict[str, Path], tmp_path: Path
) -> None:
    client.run(_die_once_half_a_file_is_written)
    words = ("--run", trained_run, *CHOICES, "--split", "all", "--scheduler", cluster.scheduler_address)
    synthesise(cohort, tmp_path / "out", *words)
    paths = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert paths.keys() == {path.name for path in written["here"].iterdir()}  # and nothing half-written
    for path in written["here"].glob("*.nii.gz"):
        assert path.read_bytes() == paths[path.name].read_bytes()


def _be_slow() -> None:
    """Let each case take some seconds more."""
    output_of = InferenceEngine.output_of

    def slow(engine: InferenceEngine, case: Case) -> dict[str, Any]:
        time.sleep(3)
        return output_of(engine, case)

    InferenceEngine.output_of = slow  # type: ignore[method-assign]


@pytest.mark.slow
def test_ctrl_c_leaves_no_half_file_and_one_goes_on(
    cluster: Any, client: Any, cohort: Path, trained_run: Path, written: dict[str, Path], tmp_path: Path
) -> None:
    client.run(_be_slow)
    given = ["--run", trained_run, *CHOICES, "--split", "all", "--scheduler", cluster.scheduler_address]
    words = ["--input", cohort, "--output", tmp_path / "out", "--device", "cpu", *given]
    command = subprocess.Popen([sys.executable, "-m", "ncct_cta.infer", *words], stderr=subprocess.PIPE, text=True)
    while command.poll() is None and not list(tmp_path.glob("out/*_syncta.nii.gz")):
        time.sleep(0.02)
    command.send_signal(signal.SIGINT)
    _, error = command.communicate(timeout=60)
    assert command.returncode == 130, error
    assert error.splitlines()[-1].startswith("stopped by Ctrl-C: run the same command again: what is written is not")
    assert "Traceback" not in error
    synthesise(cohort, tmp_path / "out", *given)
    paths = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert paths.keys() == {path.name for path in written["here"].iterdir()}
    client.restart()


def _of_another_class(run: Path, folder: Path) -> Path:
    """A copy of a run whose network is a class from outside."""
    edited(run, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["architecture"] = "somewhere.Network"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = torch.load(folder / "checkpoint_best.pt", weights_only=True)
    checkpoint["settings"]["model"]["architecture"] = "somewhere.Network"
    torch.save(checkpoint, folder / "checkpoint_best.pt")
    return folder


@pytest.mark.slow
def test_a_model_that_is_refused_is_said_in_one_line(
    cluster: Any, trained_run: Path, scans: Path, tmp_path: Path, capsys
) -> None:
    run = _of_another_class(trained_run, tmp_path / "own")
    with pytest.raises(SystemExit, match="2"):
        synthesise(scans, tmp_path / "out", "--run", run, "--scheduler", cluster.scheduler_address)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: loading the model on a worker: {run}: its network is the class somewhere.Network")
    assert "--trust" in line


def options_of(run: Path, tmp_path: Path, **choices: Any) -> InferenceOptions:
    return InferenceOptions.parse(run_dir=str(run), output=str(tmp_path), device_name="cpu", **choices)


def test_a_worker_that_finds_other_weights_refuses_them(trained_run: Path, scan: Path, tmp_path: Path) -> None:
    run = edited(trained_run, tmp_path / "run")
    options = options_of(run, tmp_path)
    identity = on_cluster._load(options, print).identity
    torch.save(torch.load(run / "checkpoint_best.pt", weights_only=True) | {"epoch": 9}, run / "checkpoint_best.pt")
    on_cluster._kept.clear()  # as in a process that takes its first case now
    task = on_cluster._Task(options, identity, Case("a", scan))
    with pytest.raises(InputError, match=r"its worker finds checkpoint_best.pt sha256:.* expected checkpoint_best.pt"):
        on_cluster._synthesise(task, print)


def test_a_model_that_is_kept_is_not_taken_for_one_trained_since(trained_run: Path, scan: Path, tmp_path: Path) -> None:
    run = edited(trained_run, tmp_path / "run")
    options = options_of(run, tmp_path)
    before = on_cluster._load(options, print).identity
    torch.save(torch.load(run / "checkpoint_best.pt", weights_only=True) | {"epoch": 9}, run / "checkpoint_best.pt")
    after = on_cluster._load(options, print).identity
    assert before != after
    assert on_cluster._synthesise(on_cluster._Task(options, after, Case("a", scan)), print)["failure"] is None
    assert json.loads((tmp_path / "a_syncta.json").read_text())["made_from"]["weights_sha256"] == after.split(":")[1]


def test_a_case_asks_for_the_memory_of_its_voxels(trained_run: Path, run_3d: Path, scan: Path, tmp_path: Path) -> None:
    slices, volumes = (on_cluster._load(options_of(run, tmp_path), print) for run in (trained_run, run_3d))
    voxels = 48 * 48 * 24
    for model, bytes_a_voxel in ((slices, 16), (volumes, 72)):
        own = model.memory_gb(Case("a", scan)) - model.memory_gb(Case("b", tmp_path / "gone.nii.gz"))
        assert own == pytest.approx(voxels * bytes_a_voxel / 1e9)
    assert slices.memory_gb(Case("b", tmp_path / "gone.nii.gz")) == pytest.approx(1.0, abs=0.1)
