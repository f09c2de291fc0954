from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigParser

from ncct_cta.common.errors import InputError
from ncct_cta.settings.__main__ import main as print_settings
from ncct_cta.settings.places import bundle_config
from ncct_cta.settings.sections import DataConfig, ModelConfig, TrainConfig
from ncct_cta.settings.whole import Settings, section_types

SECTIONS = sorted(section_types())
SMALL_PATCH = {"data": {"patch_size": [64, 32]}, "model": {"channels": [4, 8]}}


def problem_with(**sections: Any) -> str:
    with pytest.raises(InputError) as caught:
        Settings.parse(sections)
    return str(caught.value)


def test_the_bundles_train_section_has_every_default() -> None:
    bundle = ConfigParser.load_config_file(bundle_config("train.yaml"))
    defaults = Settings().as_plain()["train"]
    assert {name: bundle["train"].get(name, "missing") for name in defaults} == defaults


@pytest.mark.parametrize("section", SECTIONS)
def test_the_bundle_repeats_no_default_of_other_sections(section: str) -> None:
    if section != "train":
        bundle = ConfigParser.load_config_file(bundle_config("train.yaml"))
        assert bundle[section] == {"_target_": "ncct_cta.train.builders.parse_section", "section": section}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_meaning_and_a_default_that_is_valid(section: str) -> None:
    kind = section_types()[section]
    assert kind.section_name() == section
    for field in dataclasses.fields(kind):
        assert field.metadata["meaning"], field.name
        assert kind.parse({field.name: Settings().as_plain()[section][field.name]}) == kind(), field.name


def test_settings_survive_the_way_through_plain_data() -> None:
    settings = Settings.parse(
        {
            "data": {"spacing": [1, 1.5, 2], "patch_size": [32, 64, 32], "window": [-160, 240]},
            "model": {"spatial_dims": 3, "channels": [4, 8]},
            "train": {"lr": 3e-4, "amp": "bf16", "resume": True},
        }
    )
    assert settings.data.spacing == (1.0, 1.5, 2.0)
    assert Settings.parse(settings.as_plain()) == settings
    assert Settings.parse(settings.as_plain()) != Settings()


@pytest.mark.parametrize("sections", [{}, {"train": None}, {"train": {}}])
def test_what_is_not_given_has_its_default(sections: dict[str, Any]) -> None:
    assert Settings.parse(sections) == Settings()


def test_every_problem_is_reported_at_once_in_one_line() -> None:
    message = problem_with(trian={"lr": 1}, train={"num_epoch": 3, "lr": -1, "amp": "fp8"}, data={"augment": 1})
    assert "\n" not in message
    for part in (
        "unknown section trian (did you mean train?)",
        "unknown setting train.num_epoch (did you mean num_epochs?)",
        "train.lr is -1",
        "train.amp is 'fp8', expected one of 'off', 'bf16', 'fp16', 'auto'",
        "data.augment is 1, expected true or false",
    ):
        assert part in message


def test_problems_that_do_not_fit_in_a_line_are_counted() -> None:
    message = problem_with(train=dict.fromkeys(("lr", "amp", "seed", "device_", "val_every", "warmup_steps"), "wrong"))
    assert len(message) <= 300
    assert message.endswith(" more")
    assert "train.lr is 'wrong', expected a number" in message


@pytest.mark.parametrize(
    ("section", "name", "value", "expected"),
    [
        ("train", "seed", 2**70, "at least 0 and at most 4294967295"),
        ("train", "lr", 1e38, "at most 10.0"),
        ("data", "window", [-1e30, 1e30], "at least -32768"),
        ("data", "window", [0, 1e-6], "lower below upper"),
        ("data", "datalist", "a\0b", "a text without NUL"),
        ("data", "datalist", "x" * 256, "names of at most 255 bytes"),
        ("train", "output_dir", "\udc80", "a text that UTF-8 can write"),
        ("model", "arguments", {"a": {1, 2}}, "numbers, texts, true or false"),
        ("model", "arguments", {"not a name": 1}, "names with values below it"),
        ("data", "datalist", ["x" * 10**6], "a text (in quotes)"),
    ],
)
def test_absurd_values_are_one_short_line(section: str, name: str, value: object, expected: str) -> None:
    message = problem_with(**{section: {name: value}})
    assert expected in message
    assert len(message) <= 300


@pytest.mark.parametrize(
    ("section", "name", "word", "meant"),
    [
        ("data", "patch_size", "64,64", (64, 64)),
        ("data", "patch_size", "[64, 64]", (64, 64)),
        ("data", "spacing", "None", None),
        ("data", "spacing", "null", None),
        ("data", "spacing", None, None),
        ("train", "pretrained_G", "None", ""),
    ],
)
def test_what_the_two_command_lines_write_differently_means_the_same(
    section: str, name: str, word: object, meant: object
) -> None:
    assert getattr(getattr(Settings.parse({section: {name: word}}), section), name) == meant


def test_a_setting_without_its_section_is_told_its_home() -> None:
    assert "lung_weight stands without its section; write loss::lung_weight" in problem_with(lung_weight=3)


def test_a_name_that_resembles_none_gets_the_list_of_names() -> None:
    assert "(valid: " in problem_with(ema={"xyz": 1})
    assert "decay" in problem_with(ema={"xyz": 1})


@pytest.mark.parametrize(
    ("given", "meant"), [("data.datalist", "data::datalist"), ("num_epoch", "train::num_epochs"), ("trian", "train")]
)
def test_a_setting_in_the_place_of_a_section_gets_its_own_name(given: str, meant: str) -> None:
    assert f"unknown section {given} (did you mean {meant}?)" in problem_with(**{given: 1})


@pytest.mark.parametrize(("word", "code"), [("--help", 0), ("--foo", 2)])
def test_the_table_is_printed_only_when_nothing_else_is_asked(
    word: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        print_settings([word])
    assert caught.value.code == code
    assert "| setting |" not in capsys.readouterr().out
    print_settings([])
    assert "| setting |" in capsys.readouterr().out


def test_a_section_that_is_no_mapping_is_named() -> None:
    assert "section train is 5, expected settings below it" in problem_with(train=5)


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("lr", "2e-4", 2e-4),  # YAML 1.1 reads it as a string
        ("lr", 1, 1.0),
        ("num_epochs", "12", 12),
        ("num_epochs", 12.0, 12),
        ("steps_per_epoch", "1e3", 1000),
    ],
)
def test_numbers_are_taken_in_any_spelling_and_get_their_type(name: str, given: Any, meant: float) -> None:
    value = getattr(TrainConfig.parse({name: given}), name)
    assert value == meant
    assert type(value) is type(meant)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("num_epochs", "three", "a whole number"),
        ("num_epochs", 1.5, "a whole number"),
        ("num_epochs", float("inf"), "a whole number"),
        ("num_epochs", True, "a whole number"),
        ("num_epochs", None, "a whole number"),
        ("num_epochs", 0, "at least 1"),
        ("lr", "fast", "a number"),
        ("lr", -1e-3, "at least 0"),
        ("lr", float("nan"), "a number"),
        ("resume", "yes", "true or false"),
        ("output_dir", 1.5, r"a text \(in quotes\)"),
        ("output_dir", None, "a text"),
        ("output_dir", False, "a text"),
        ("amp", True, "a text"),
        ("lr_scheduler", "cosin", "one of 'cosine', 'constant'"),
    ],
)
def test_wrong_values_are_named_with_what_was_expected(name: str, given: Any, expected: str) -> None:
    with pytest.raises(InputError, match=rf"train\.{name} is .*, expected {expected}"):
        TrainConfig.parse({name: given})


@pytest.mark.parametrize(
    ("name", "line", "meant"),
    [("amp", "amp: off", "off"), ("output_dir", "output_dir: 2024", "2024"), ("pretrained_G", "pretrained_G:", "")],
)
def test_texts_that_yaml_reads_as_something_else_are_taken_as_typed(name: str, line: str, meant: str) -> None:
    assert getattr(TrainConfig.parse(yaml.safe_load(line)), name) == meant


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"patch_size": [15, 64]}, "at least 16"),
        ({"patch_size": 64}, "a list of int"),
        ({"patch_size": [64, "wide"]}, "a whole number"),
        ({"val_fraction": 0.95}, "at most 0.9"),
        ({"spacing": [1, 1, 0]}, "at least 0.1"),
    ],
)
def test_every_entry_of_a_list_is_checked(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        DataConfig.parse(values)


def test_choices_of_numbers() -> None:
    assert ModelConfig.parse({"spatial_dims": "3"}).spatial_dims == 3
    with pytest.raises(InputError, match=r"model\.spatial_dims is 4, expected one of 2, 3"):
        ModelConfig.parse({"spatial_dims": 4})


@pytest.mark.parametrize(
    ("sections", "part"),
    [
        ({"data": {"window": [400, -1000]}}, "data.window is [400.0, -1000.0], expected [lower, upper]"),
        ({"data": {"window": [0, 100, 200]}}, "data.window"),
        ({"data": {"spacing": [1, 1]}}, "data.spacing is [1.0, 1.0], expected 3 values"),
        ({"model": {"spatial_dims": 3}}, "data.patch_size is [256, 256], expected 3 values"),
        (
            {"model": {"spatial_dims": 3, "in_slices": 3}, "data": {"patch_size": [32, 32, 32]}},
            "model.in_slices is 3, expected 1",
        ),
        (
            {"data": {"patch_size": [32, 64]}, "loss": {"scales": 3}},
            "loss.scales is 3, which leaves 8 voxels of data.patch_size [32, 64], expected at least SSIM's 11",
        ),
        (
            {**SMALL_PATCH, "discriminator": {"enabled": True, "num_scales": 6}},
            "discriminator.num_scales is 6, which needs patches of 128 voxels a side; data.patch_size is [64, 32], "
            "expected larger ones, or 4 scales at most",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_named(sections: dict[str, Any], part: str) -> None:
    assert part in problem_with(**sections)


@pytest.mark.parametrize("discriminator", [{"enabled": True, "num_scales": 4}, {"enabled": False, "num_scales": 5}])
def test_as_many_scales_as_the_patch_holds_are_taken(discriminator: dict[str, Any]) -> None:
    taken = Settings.parse({**SMALL_PATCH, "discriminator": discriminator}).discriminator
    assert taken.num_scales == discriminator["num_scales"]


def test_values_given_beside_the_mapping_count_too() -> None:
    assert TrainConfig.parse({"lr": 1e-3}, seed=4) == TrainConfig(lr=1e-3, seed=4)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), ".inf"])
def test_numbers_must_be_finite(value: object) -> None:
    with pytest.raises(InputError, match=r"train\.lr is .*, expected a number"):
        Settings.parse({"train": {"lr": value}})
