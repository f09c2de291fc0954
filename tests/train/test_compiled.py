"""``train.compile``: the same training by compiled networks."""

from __future__ import annotations

import copy
import csv
from pathlib import Path

import pytest
import torch
from left_as_found import logging_left_as_found
from tiny_engine import tiny_cascade

from ncct_cta.runs.names import LAST
from ncct_cta.settings import TrainConfig
from ncct_cta.train.builders import ready_to_train
from ncct_cta.train.command import main as train

inductor = pytest.importorskip("torch._inductor.config")


def test_without_a_compiler_a_training_ends_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with inductor.patch("cpp.cxx", ("no-such-compiler",)), pytest.raises(SystemExit) as ended:
        ready_to_train(tiny_cascade(), TrainConfig(compile=True))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "train.compile is true, and there is no C++ compiler; install one (g++" in line


def test_without_the_headers_of_python_a_training_ends_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch._inductor.cpp_builder").get_cpp_compiler()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        ready_to_train(tiny_cascade(), TrainConfig(compile=True))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"Python's headers aren't in {tmp_path}; install them" in line


def test_nothing_is_compiled_unless_it_is_wanted() -> None:
    cascade = tiny_cascade(refine=True)
    with inductor.patch("cpp.cxx", ("no-such-compiler",)):
        assert ready_to_train(cascade, TrainConfig()) is cascade
    assert all(module._compiled_call_impl is None for module in cascade.modules())


def test_names_and_copies_of_compiled_networks_are_plain() -> None:
    cascade = tiny_cascade(refine=True)
    names = list(cascade.state_dict())
    assert ready_to_train(cascade, TrainConfig(compile=True)) is cascade
    compiled = [name for name, module in cascade.named_modules() if module._compiled_call_impl is not None]
    assert compiled == ["generator.net", "refine_net"]
    assert list(cascade.state_dict()) == names
    assert all(module._compiled_call_impl is None for module in copy.deepcopy(cascade).modules())  # the average


@pytest.mark.slow
def test_a_compiled_training_has_the_losses_of_the_plain_one(
    cohort: Path, tiny_settings: list[str], tmp_path: Path
) -> None:
    losses, names = {}, {}
    for compiled in ("false", "true"):
        run = tmp_path / compiled
        words = ["g_small", *tiny_settings, "--train::steps_per_epoch", "2", "--train::compile", compiled]
        with logging_left_as_found():
            train([*words, "--data::datalist", str(cohort), "--train::output_dir", str(run)])
        with open(run / "metrics.csv", newline="") as file:
            losses[compiled] = [float(row["loss"]) for row in csv.DictReader(file)]
        names[compiled] = list(torch.load(run / LAST, weights_only=True)["network"])
    assert losses["true"] == pytest.approx(losses["false"], abs=1e-4)
    assert names["true"] == names["false"]
