"""The options of an inference: declared once, and what the command lines and the bundle's YAML make of them."""

from __future__ import annotations

import argparse
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ncct_cta.common.errors import InputError
from ncct_cta.evaluate.command import build_parser as evaluate_parser
from ncct_cta.infer.command import build_parser as infer_parser
from ncct_cta.infer.options import InferenceOptions, RunningOptions, flag_of, parse_options
from ncct_cta.infer.options_yaml import spelled, with_options
from ncct_cta.settings.places import bundle_config


@pytest.mark.parametrize(
    ("config", "options", "of"),
    [("inference.yaml", InferenceOptions, ""), ("evaluate.yaml", RunningOptions, "of a run: ")],
)
def test_yaml_spells_every_option_with_its_default_and_meaning(
    config: str, options: type[RunningOptions], of: str
) -> None:
    lines = Path(bundle_config(config)).read_text().splitlines()
    assert [line for line in spelled(options, of) if line not in lines] == []


def test_inference_yaml_gives_every_option_and_no_other() -> None:
    content = yaml.safe_load(Path(bundle_config("inference.yaml")).read_text())
    given = {name: value for name, value in content["options"].items() if name != "_target_"}
    assert given == {field.name: f"@{field.name}" for field in dataclasses.fields(InferenceOptions)}


def test_inference_yaml_is_what_make_settings_writes() -> None:
    text = Path(bundle_config("inference.yaml")).read_text()
    assert with_options(text) == text
    assert with_options(text.replace("overwrite: false # ", "overwrites: true # ")) == text


def test_evaluate_yaml_gives_every_option_of_a_run_and_no_other() -> None:
    content = yaml.safe_load(Path(bundle_config("evaluate.yaml")).read_text())
    given = content["evaluating"][0]["running"]
    assert given == {field.name: f"@{field.name}" for field in dataclasses.fields(RunningOptions)}


@pytest.mark.parametrize(
    ("parser", "options"), [(infer_parser(), InferenceOptions), (evaluate_parser(), RunningOptions)]
)
def test_the_help_names_every_option_with_its_meaning(
    parser: argparse.ArgumentParser, options: type[RunningOptions]
) -> None:
    text = " ".join(parser.format_help().split())
    for field in dataclasses.fields(options):
        assert re.search(rf"{flag_of(field)}\b", text)
        assert field.metadata["meaning"] in text.replace("- ", "-")


def test_words_become_values() -> None:
    words = ["--input", "2024", "--output", "out", "--run", "007", "--batch-size", "3", "--series", "a", "b", "--dicom"]
    options = parse_options(InferenceOptions, infer_parser().parse_args(words))
    assert (options.input, options.run_dir, options.batch_size) == ("2024", ("007",), 3)
    assert (options.series, options.dicom, options.overwrite) == (("a", "b"), True, False)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch_size", "many", "--batch-size is 'many', expected a whole number"),
        ("batch_size", -1, "--batch-size is -1, expected at least 0"),
        ("amp", "fp8", "--amp is 'fp8', expected one of '', 'off', 'bf16', 'fp16'"),
        ("series", "s1", "--series is 's1', expected a list of str"),
        ("overwrite", "yes", "--overwrite is 'yes', expected true or false"),
        ("device", "cpu", r"unknown setting device \(did you mean device_name\?\)"),
    ],
)
def test_a_value_that_does_not_fit_is_named_as_the_command_line_spells_it(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        InferenceOptions.parse({name: value})


def test_yaml_may_read_off_and_whole_numbers_as_something_else() -> None:
    options = InferenceOptions.parse(amp=False, run_dir=2024)  # YAML's off; a folder that is named after a year
    assert (options.amp, options.run_dir) == ("off", ("2024",))


def test_help_needs_no_heavy_library() -> None:
    script = (
        "import sys\nfrom ncct_cta.infer.command import build_parser\nbuild_parser().format_help()\n"
        "sys.exit(', '.join({'torch', 'monai', 'numpy', 'SimpleITK'} & sys.modules.keys()) or None)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("given", "taken"),
    [("", ()), (None, ()), ([], ()), ([""], ()), ("a,b", ("a,b",)), (["a", 7], ("a", "7")), (("a", "b"), ("a", "b"))],
)
def test_models_are_one_name_or_several(given: object, taken: tuple[str, ...]) -> None:
    assert InferenceOptions.parse(run_dir=given).run_dir == taken


@pytest.mark.parametrize("given", [True, {"a": 1}, [True], [["a"]]])
def test_what_names_no_model_is_refused(given: object) -> None:
    with pytest.raises(InputError, match="--run is"):
        InferenceOptions.parse(run_dir=given)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 1),
        ({"run_dir": "a", "uncertainty": True}, 8),
        ({"run_dir": "a", "checkpoint": "b", "uncertainty": True}, 8),
        ({"run_dir": ["a", "b"], "uncertainty": True}, 1),
        ({"run_dir": "a", "model_file": "b", "uncertainty": True}, 1),
        ({"run_dir": "a", "checkpoint": ["b", "c"], "uncertainty": True}, 1),
        ({"run_dir": ["a", "b"], "tta": 3}, 3),
    ],
)
def test_a_scan_is_moved_where_one_model_has_to_disagree_with_itself(given: dict[str, object], count: int) -> None:
    assert InferenceOptions.parse(given).predictions_per_model == count
