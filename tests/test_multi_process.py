"""Several processes train one model: the same losses as one process, and one writer of files."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ncct_cta.common import keys
from ncct_cta.runs.names import BEST, LAST
from ncct_cta.settings.places import bundle_config
from ncct_cta.train.command import main as train

CHECKOUT = Path(__file__).resolve().parents[1]
WIRING = "['bundles/ncct_cta/configs/train.yaml','bundles/ncct_cta/configs/multi_gpu_train.yaml']"
# The cohort has one validation case: the second process has none.
EPOCHS, STEPS = 2, 3
SETTINGS = {"train::num_epochs": EPOCHS, "train::steps_per_epoch": STEPS, "train::warmup_steps": 1}
EVERYTHING = {
    "registration::enabled": "true",
    "refine::enabled": "true",
    "refine::hidden_dim": 4,
    "refine::num_blocks": 1,
    "refine::lr": "1.0e-2",
    "refine::warmup_steps": 1,
    "refine::freeze_G": "false",
    "discriminator::enabled": "true",
    "discriminator::hidden_dim": 4,
    "discriminator::lr": "1.0e-2",
    "discriminator::warmup_steps": 1,
    "discriminator::steps": 2,
    "train::skip_warmup": "true",
}
KINDS = {"g": {}, "everything": EVERYTHING}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch is built without gloo"),
]


def words(tiny_settings: list[str], cohort: Path, output: Path, settings: dict[str, object]) -> list[str]:
    given = {**SETTINGS, **settings, "data::datalist": cohort / "datalist.json", "train::output_dir": output}
    return [*tiny_settings, *(str(word) for name, value in given.items() for word in (f"--{name}", value))]


def torchrun(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Two processes on the CPU, as the overlay's first line says; ``--standalone`` finds a free port."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, "-m", "monai.bundle", "run", "training", "--config_file", WIRING, *arguments]
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def runs(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Each kind of training by one process and by two."""
    folder = tmp_path_factory.mktemp("processes")
    made = {}
    for kind, settings in KINDS.items():
        single, double = folder / kind / "1", folder / kind / "2"
        train([bundle_config("train.yaml"), *words(tiny_settings, cohort, single, settings)])
        done = torchrun(words(tiny_settings, cohort, double, settings))
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        (folder / f"{kind}.log").write_text(done.stdout + done.stderr)
        made[kind] = [single, double]
    return made


def rows(run: Path) -> list[dict[str, float]]:
    with open(run / "metrics.csv", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_losses_of_one_with_the_same_global_batch(runs, kind):
    single, double = map(rows, runs[kind])
    assert len(single) == len(double) == EPOCHS
    for one, two in zip(single, double, strict=True):
        assert one.keys() == two.keys()
        for name in set(keys.TRAINING_TERMS) & one.keys():
            # The first steps' differences of rounding grow with the steps, in gradient norms most.
            tolerance = 1e-2 if name.startswith(("gnorm", "pull")) else 1e-4
            assert two[name] == pytest.approx(one[name], rel=tolerance, abs=1e-4), name


def test_the_validation_is_that_of_one_process_though_the_other_has_no_case(runs):
    for one, two in zip(*map(rows, runs["g"]), strict=True):
        for name in keys.VALIDATION_TERMS:
            assert two[name] == pytest.approx(one[name], rel=1e-3), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_net_learns_in_two_processes(runs, kind):
    single, double = (torch.load(run / LAST, weights_only=True) for run in runs[kind])
    assert single.keys() == double.keys()
    nets = ["network", "ema", *(["discriminator", "registration"] if kind == "everything" else [])]
    for net in nets:
        assert not any(name.startswith("module.") for name in double[net])  # the plain nets, usable by one process
        for name, value in single[net].items():
            torch.testing.assert_close(double[net][name], value, atol=2e-2, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_one_process_writes_the_files(runs, kind):
    single, double = runs[kind]
    assert sorted(path.name for path in double.iterdir()) == sorted(path.name for path in single.iterdir())
    assert {LAST, BEST, "metrics.csv", "train.log", "config.yaml"} <= {path.name for path in double.iterdir()}
    assert [path.name for path in double.parent.iterdir() if path.name not in "12"] == []  # nothing was moved aside
    assert len(list((double / "tensorboard").glob("events*"))) == 1
    assert len(list((double / "previews").iterdir())) == EPOCHS
    log = (double / "train.log").read_text()
    assert [log.count(f"epoch {epoch}/{EPOCHS}") for epoch in range(1, EPOCHS + 1)] == [1] * EPOCHS


@pytest.mark.parametrize("kind", KINDS)
def test_one_process_tells_where_the_training_is(runs, kind):
    double = runs[kind][1]
    assert (double.parents[1] / f"{kind}.log").read_text().count(f"training in {double}") == 1


def test_a_batch_that_processes_cannot_share_is_refused_in_one_line(tiny_settings, cohort, tmp_path):
    done = torchrun(words(tiny_settings, cohort, tmp_path / "run", {"train::batch_size": 3}))
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert set(lines) == {"error: train.batch_size is 3, expected a multiple of the 2 processes"}
    assert "Traceback" not in done.stderr.split("torch/distributed/elastic")[0]
    assert not (tmp_path / "run").exists()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_two_nodes_of_one_process_each_have_the_losses_of_one(cohort, tiny_settings, tmp_path):
    """They meet over a rendezvous, as on a cluster; here both nodes are this machine."""
    meeting = ["--nnodes", "2", "--nproc_per_node", "1", "--rdzv_backend", "c10d", "--rdzv_id", "training"]
    meeting += ["--rdzv_endpoint", f"127.0.0.1:{free_port()}", "--local_addr", "127.0.0.1"]
    training = ["-m", "monai.bundle", "run", "training", "--config_file", WIRING]
    command = [sys.executable, "-m", "torch.distributed.run", *meeting, *training]
    command += words(tiny_settings, cohort, tmp_path / "run", KINDS["g"])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    train([bundle_config("train.yaml"), *words(tiny_settings, cohort, tmp_path / "single", KINDS["g"])])
    nodes = [subprocess.Popen(command, cwd=CHECKOUT, env=environment, **pipes) for _ in range(2)]
    said = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], [text[-3000:] for text in said]
    for one, two in zip(rows(tmp_path / "single"), rows(tmp_path / "run"), strict=True):
        for name in (keys.LOSS, keys.L1, keys.SSIM):
            assert two[name] == pytest.approx(one[name], rel=1e-4, abs=1e-4), name
    assert len(list((tmp_path / "run" / "previews").iterdir())) == EPOCHS
