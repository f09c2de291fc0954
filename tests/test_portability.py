"""Where it runs: without Unix, in a container, without an editor's help; steps that no engine here can run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"
# What Python on Windows lacks.
UNIX = ("fcntl", "resource", "termios", "pwd", "grp", "posix_ipc", "syslog")


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=600, env={**os.environ, **environment}
    )


@pytest.mark.slow
def test_every_module_is_imported_without_what_only_unix_has() -> None:
    # MONAI asks for the user's name, which Windows has in the environment.
    done = run(
        sys.executable, ROOT / ".ci" / "imports.py", "--without", *UNIX, PYTHONPATH=str(ROOT), USERNAME="somebody"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 200


@pytest.mark.slow
def test_the_steps_of_the_docker_build_install_the_command(tmp_path: Path) -> None:
    # Without PyTorch: .ci/run installs all of it. An empty index leaves PyTorch's own out.
    script, environment = ROOT / "docker" / "install.sh", tmp_path / "environment"
    done = run("sh", script, "cpu", ROOT, environment, "--no-deps", "--quiet", NCCT_CTA_TORCH_INDEX="")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"ncct-cta \d+\.\d+\.\d+\n", done.stdout)
    listed = run(environment / "bin" / "ncct-cta")
    assert "infer" in listed.stdout


def test_an_unknown_device_of_the_docker_build_is_refused() -> None:
    done = run("sh", ROOT / "docker" / "install.sh", "tpu", ".", "environment")
    assert (done.returncode, done.stderr) == (2, "tpu: expected cpu or cuda\n")


def test_the_dockerfile_copies_what_is_there_and_runs_without_roots_rights() -> None:
    lines = DOCKERFILE.read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists()
        assert name in let_in
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users
    assert users[-1] != "root"
    assert any("docker/install.sh" in line for line in lines if line.startswith("RUN"))


def test_the_workflow_calls_the_projects_own_checks() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text())
    steps = {name: [step.get("run", "") for step in job["steps"]] for name, job in workflow["jobs"].items()}
    assert ".ci/run" in steps["checks"]
    assert "python .ci/imports.py" in steps["imports"]
    assert set(workflow["jobs"]["imports"]["strategy"]["matrix"]["os"]) == {"windows-latest", "macos-latest"}


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_an_issue_form_asks_for_something(name: str) -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= form.keys()
    assert any(part.get("validations", {}).get("required") for part in form["body"])
    assert all(part["type"] in ("markdown", "textarea", "dropdown") for part in form["body"])
