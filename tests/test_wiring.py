"""Every setting reaches what its section builds, and parts that several sections shape are what they say."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
import torch
import yaml

from ncct_cta.handlers import CheckpointHandler, DebugHandler, DiagnosticsHandler, PreviewHandler, ValidationHandler
from ncct_cta.settings import Section, TrainConfig, section_types
from ncct_cta.settings.places import bundle_config
from ncct_cta.train.workflow import SynthesisWorkflow

# Tiny, and every net is there.
BASE: dict[str, Any] = {
    "data::datalist": "nowhere",
    "data::patch_size": [32, 32],
    "model::channels": [4, 8],
    "model::num_res_units": 0,
    "registration::enabled": True,
    "refine::enabled": True,
    "refine::hidden_dim": 4,
    "refine::num_blocks": 1,
    "discriminator::enabled": True,
    "discriminator::hidden_dim": 4,
    "train::device": "cpu",
}
VOLUMES = {"data::patch_size": [16, 16, 16], "model::spatial_dims": 3}
# What a run reads when it starts, and not while its parts are built.
READ_BY_THE_RUN = {"train.pretrained_G", "train.pretrained_G2", "train.resume"}


def parts_with(settings: dict[str, Any]) -> Callable[[str], Any]:
    workflow = SynthesisWorkflow(config_file="train.yaml", logging_file=False, **{**BASE, **settings})
    workflow.initialize()
    return workflow.parser.get_parsed_content


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The settings that are read, as section.key, from here on."""
    names: set[str] = set()
    plain = Section.__getattribute__

    def watched(section: Section, name: str) -> Any:
        if name in type(section).__dataclass_fields__:
            names.add(f"{section.section_name()}.{name}")
        return plain(section, name)

    monkeypatch.setattr(Section, "__getattribute__", watched)
    return names


def test_every_setting_is_taken_by_what_its_section_builds(read: set[str]) -> None:
    parts = {refined: parts_with({"refine::enabled": refined}) for refined in (True, False)}
    read.clear()  # checking the settings reads them too
    for part in ("train", "network_def", "dataset_dir", "validate::evaluator"):
        for built in parts.values():
            built(part)
    taken = read - {f"train.{name}" for name in TrainConfig.names()}
    every = {f"{name}.{key}" for name, kind in section_types().items() for key in kind.names() if name != "train"}
    assert every - taken == set()


def test_the_yaml_hands_every_setting_of_train_on_and_has_its_default() -> None:
    with open(bundle_config("train.yaml"), encoding="utf-8") as file:
        content = yaml.safe_load(file)
    default = TrainConfig()
    assert {key: content["train"].get(key) for key in TrainConfig.names()} == {
        key: getattr(default, key) for key in TrainConfig.names()
    }
    handed_on = {key: value for key, value in content["run"].items() if key in TrainConfig.names()}
    assert handed_on == {key: f"@train::{key}" for key in TrainConfig.names()}


def test_every_setting_of_train_is_read_somewhere(read: set[str]) -> None:
    built = parts_with({"refine::enabled": False})
    read.clear()
    # Not the whole run: recording and checking its settings reads them all.
    for part in ("device", "update", "adversary", "cases", "train::trainer", "validate::evaluator"):
        built(part)
    assert {f"train.{name}" for name in TrainConfig.names()} - read == READ_BY_THE_RUN


def lr_of(net: str) -> Callable[[Any], float]:
    return lambda optimizer: next(group["initial_lr"] for group in optimizer.param_groups if group["name"] == net)


def handler(kind: type, name: str) -> Callable[[Any], Any]:
    return lambda handlers: attrgetter(name)(next(each for each in handlers if isinstance(each, kind)))


def patch_transform(number: int, name: str) -> Callable[[Any], Any]:
    return lambda dataset: attrgetter(name)(dataset.transform.transforms[number])


def factor_at(step: int) -> Callable[[Any], Any]:
    """The share of the peak learning rate at a step; 1/2 is halfway between the warm-up and the last step."""
    return lambda scheduler: pytest.approx(scheduler.lr_lambdas[0](step), abs=1e-6)


# settings, the part that they shape together or that stands twice, how it is read there, what is then expected
BEHAVIOUR: list[tuple[dict[str, Any], str, Callable[[Any], Any], Any]] = [
    ({"data::window": [-160.0, 240.0]}, "train::dataset", patch_transform(0, "window.lower"), -160),
    ({"loss::body_only": True}, "train::dataset", attrgetter("sampled"), ("ncct", "cta", "lung", "body")),
    ({"data::window": [-160.0, 240.0]}, "loss_function", attrgetter("enhancement"), 80 / 200),
    ({"data::flip": True}, "train::dataset", patch_transform(2, "flipper.spatial_axis"), 0),
    ({"data::augment": False}, "train::dataset", lambda dataset: len(dataset.transform.transforms), 1),
    ({"data::augment_share": 0.9}, "train::dataset", patch_transform(1, "prob"), 0.9),
    ({"data::augment_strength": 2}, "train::dataset", patch_transform(1, "affine.rotate_range"), (0.18,)),
    (VOLUMES, "train::dataset", patch_transform(1, "affine.rotate_range"), (0, 0, 0.09)),
    (
        {"data::spacing": [1.0, 2.0, 3.0]},
        "preprocessing",
        lambda steps: list(steps[2].spacing_transform.pixdim),
        [1, 2, 3],
    ),
    ({"data::window": [-160.0, 240.0]}, "validate::inferer", attrgetter("window.upper"), 240),
    ({"data::window": [-100.0, 100.0]}, "discriminator_net", attrgetter("contrast_gain"), 1.0),
    ({"data::patch_size": [32, 64]}, "train::dataset", attrgetter("patch_size"), (32, 64)),
    ({"data::patch_size": [32, 64]}, "validate::inferer", attrgetter("patch_size"), (32, 64)),
    ({"model::channels": [4, 8, 16]}, "validate::inferer", attrgetter("multiple"), 4),
    ({"model::in_slices": 3}, "generator", attrgetter("in_slices"), 3),
    ({"model::in_slices": 3}, "train::dataset", attrgetter("in_slices"), 3),
    ({"model::in_slices": 3}, "validate::inferer", attrgetter("in_slices"), 3),
    ({"model::head": "gated"}, "generator", lambda net: type(net.gate).__name__, "GatedHead"),
    ({"loss::perceptual_weight": 0.0}, "loss_function", lambda loss: dict(loss.further), {}),
    ({"loss::gate_weight": 0.7}, "objective", attrgetter("gate_weight"), 0.7),
    ({"data::window": [-160.0, 240.0]}, "objective", attrgetter("gate.enhancement"), 80 / 200),
    ({"registration::enabled": False}, "registration_net", bool, False),
    (
        {"registration::attention": True},
        "registration_net",
        lambda net: "attention" in str(list(net.state_dict())),
        True,
    ),
    (
        {"registration::attention": False},
        "registration_net",
        lambda net: "attention" in str(list(net.state_dict())),
        False,
    ),
    ({"registration::lr": 0.7}, "optimizer", lr_of("R"), 0.7),
    ({"registration::start_epoch": 3}, "objective", attrgetter("registration_start"), 3),
    ({"registration::start_epoch": 3}, "lr_scheduler", lambda each: each.lr_lambdas[1](499), 0),
    ({"loss::lung_weight_epochs": 3}, "objective", attrgetter("lung_weight_epochs"), 3),
    ({"refine::enabled": False}, "refine_net", bool, False),
    ({"refine::enabled": False}, "train::handlers", handler(DiagnosticsHandler, "refine"), False),
    ({"refine::fusion": "concat"}, "cascade", attrgetter("fusion"), "concat"),
    ({"refine::fusion": "concat"}, "network_def", attrgetter("fusion"), "concat"),
    ({"refine::base": "root"}, "cascade", attrgetter("base"), "root"),
    ({"refine::base": "root"}, "network_def", attrgetter("base"), "root"),
    ({"refine::fusion": "concat"}, "refine_net", attrgetter("conv_in.in_channels"), 3),
    ({"refine::freeze_G": False}, "cascade", attrgetter("generator_frozen"), False),
    ({"refine::freeze_G": False}, "network_def", attrgetter("generator_frozen"), False),
    ({"refine::lr": 0.7}, "optimizer", lr_of("G2"), 0.7),
    ({"refine::lr_scheduler": "constant"}, "lr_scheduler", factor_at(20000), 1.0),
    ({"refine::warmup_steps": 7}, "lr_scheduler", factor_at(1), 1 / 7),
    ({"refine::enabled": False, "train::lr": 0.7}, "optimizer", lr_of("G"), 0.7),
    ({"refine::enabled": False, "train::lr_scheduler": "constant"}, "lr_scheduler", factor_at(20000), 1.0),
    ({"refine::enabled": False, "train::warmup_steps": 7}, "lr_scheduler", factor_at(1), 1 / 7),
    ({"discriminator::enabled": False}, "discriminator_net", bool, False),
    ({"discriminator::mode": "hinge"}, "adversary", attrgetter("loss.mode"), "hinge"),
    ({"discriminator::r1_weight": 0.7}, "adversary", attrgetter("r1_weight"), 0.7),
    ({"discriminator::r1_every": 3}, "adversary", attrgetter("r1_every"), 3),
    (
        {"discriminator::spectral_norm": False},
        "discriminator_net",
        lambda net: "original0" in str(net.state_dict()),
        False,
    ),
    ({"discriminator::warmup_epochs": 3}, "adversary", attrgetter("warmup_epochs"), 3),
    ({"train::skip_warmup": True}, "adversary", attrgetter("warmup_epochs"), 0),
    ({"train::skip_warmup": True, "discriminator::start_epoch": 4}, "adversary", attrgetter("warmup_epochs"), 3),
    ({"discriminator::start_epoch": 11}, "adversary", lambda d: factor_at(11350)(d.update.lr_scheduler), 0.5),
    ({"discriminator::steps": 2}, "adversary", lambda d: factor_at(23850)(d.update.lr_scheduler), 0.5),
    ({"train::steps_per_epoch": 4}, "adversary", lambda d: factor_at(285)(d.update.lr_scheduler), 0.5),
    ({"ema::enabled": False}, "average", attrgetter("average"), None),
    ({"train::num_epochs": 3}, "lr_scheduler", factor_at(475), 0.5),
    ({"train::steps_per_epoch": 5}, "train::dataloader", len, 5),
    ({"data::num_workers": None}, "train::dataloader", attrgetter("num_workers"), 0),
    ({"data::num_workers": 2}, "train::dataloader", attrgetter("num_workers"), 2),
    ({"train::batch_size": 3}, "train::dataloader", attrgetter("batch_size"), 3),
    ({"train::batch_size": 3}, "train::dataloader", len, 250),
    ({"train::grad_clip": 0.7}, "update", attrgetter("max_norm"), 0.7),
    ({"train::grad_clip": 0.7}, "adversary", attrgetter("update.max_norm"), 0.7),
    ({"train::amp": "bf16"}, "train::trainer", attrgetter("precision"), "bf16"),
    ({"train::amp": "bf16"}, "adversary", attrgetter("amp"), "bf16"),
    ({"train::amp": "bf16"}, "validate::inferer", attrgetter("amp"), "bf16"),
    ({"train::device": "meta"}, "device", attrgetter("type"), "meta"),
    ({"train::seed": 7}, "seeded", lambda _: torch.initial_seed(), 7),
    ({"train::seed": 7}, "train::dataset", attrgetter("seed"), 7),
    ({"train::val_every": 3}, "train::handlers", handler(ValidationHandler, "interval"), 3),
    ({"train::output_dir": "there"}, "train::handlers", handler(CheckpointHandler, "folder.name"), "there"),
    ({"train::output_dir": "there"}, "validate::handlers", handler(PreviewHandler, "folder.parent.name"), "there"),
    ({"train::best": "last"}, "train::handlers", handler(CheckpointHandler, "best"), "last"),
    ({"train::debug": True}, "train::handlers", handler(DebugHandler, "enabled"), True),
    (VOLUMES, "generator", attrgetter("spatial_dims"), 3),
    (VOLUMES, "refine_net", lambda net: net.conv_in.weight.ndim, 5),
    (VOLUMES, "registration_net", lambda net: next(net.parameters()).ndim, 5),
    (VOLUMES, "discriminator_net", lambda net: type(net.pool).__name__, "AvgPool3d"),
    (VOLUMES, "loss_function", attrgetter("ssim_loss.spatial_dims"), 3),
]


@pytest.mark.parametrize(
    ("settings", "part", "read_part", "expected"),
    BEHAVIOUR,
    ids=[f"{', '.join(case[0])} in {case[1]}" for case in BEHAVIOUR],
)
def test_a_part_is_what_the_settings_say(
    settings: dict[str, Any], part: str, read_part: Callable[[Any], Any], expected: Any
) -> None:
    assert read_part(parts_with(settings)(part)) == expected


@pytest.mark.parametrize("native", [True, False])
def test_all_parts_compute_in_what_auto_has_chosen(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncct_cta.common.precision.has_native_bf16", lambda device: native)
    built = parts_with({"train::amp": "auto"})
    found = {built("train::trainer").precision, built("adversary").amp, built("validate::inferer").amp}
    assert found == {"bf16" if native else "off"}
    assert built("train").settings.train.amp == "auto"  # as it was given
