"""Every setting reaches the part of ``train.yaml`` that it is meant for."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

import pytest
import torch
from torch import nn

from ncct_cta.handlers import (
    CheckpointHandler,
    DebugHandler,
    DiagnosticsHandler,
    DiscriminatorHealthHandler,
    MetricsLogHandler,
    PreviewHandler,
    ValidationHandler,
)
from ncct_cta.settings.sections import section_types
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
G_ALONE = {"refine::enabled": False}
VOLUMES = {"data::patch_size": [16, 16, 16]}


def same(part: Any) -> Any:
    return part


def lr_of(net: str) -> Callable[[Any], float]:
    return lambda optimizer: next(group["lr"] for group in optimizer.param_groups if group["name"] == net)


def handler(kind: type, name: str) -> Callable[[Any], Any]:
    return lambda handlers: attrgetter(name)(next(each for each in handlers if isinstance(each, kind)))


def decays(optimizer: Any) -> set[float]:
    return {group["weight_decay"] for group in optimizer.param_groups}


def norms(generator: nn.Module) -> set[str]:
    return {type(part).__name__ for part in generator.modules() if "Norm" in type(part).__name__}


def factor_at(step: int) -> Callable[[Any], Any]:
    """The share of the peak learning rate at a step; 1/2 is halfway between the warm-up and the last step."""
    return lambda scheduler: pytest.approx(scheduler.lr_lambdas[0](step), abs=1e-6)


def type_name(part: Any) -> str:
    return type(part).__name__


# setting, value, the part that it must reach, how it is read there, what is then expected
WIRED: list[tuple[str, Any, str, Callable[[Any], Any], Any]] = [
    ("data::datalist", "elsewhere", "cases", lambda cases: cases.datalist.name, "elsewhere"),
    ("data::window", [-160.0, 240.0], "train::dataset", attrgetter("window.lower", "window.upper"), (-160, 240)),
    ("data::window", [-160.0, 240.0], "validate::inferer", attrgetter("window.upper"), 240),
    ("data::window", [-100.0, 100.0], "discriminator_net", attrgetter("contrast_gain"), 1.0),
    ("data::spacing", [1.0, 2.0, 3.0], "cases", attrgetter("store.settings"), {"spacing": [1.0, 2.0, 3.0]}),
    ("data::patch_size", [32, 64], "train::dataset", attrgetter("patch_size"), (32, 64)),
    ("data::patch_size", [32, 64], "validate::inferer", attrgetter("patch_size"), (32, 64)),
    ("data::augment", False, "train::dataset", lambda dataset: len(dataset.transform.transforms), 0),
    ("data::val_fraction", 0.3, "cases", attrgetter("val_fraction"), 0.3),
    ("data::cache_dir", "kept", "cases", attrgetter("store.folder.name"), "kept"),
    ("data::num_workers", 1, "train::dataloader", attrgetter("num_workers"), 1),
    ("model::channels", [4, 8, 16], "generator", attrgetter("multiple"), 4),
    ("model::channels", [4, 8, 16], "validate::inferer", attrgetter("multiple"), 4),
    ("model::num_res_units", 1, "generator", attrgetter("net.num_res_units"), 1),
    ("model::norm", "batch", "generator", norms, {"BatchNorm2d"}),
    ("model::residual_output", False, "generator", attrgetter("residual_output"), False),
    ("loss::l1_weight", 0.7, "loss_function", attrgetter("l1_weight"), 0.7),
    ("loss::ssim_weight", 0.7, "loss_function", attrgetter("ssim_weight"), 0.7),
    ("loss::lung_weight", 0.7, "loss_function", attrgetter("lung_weight"), 0.7),
    ("registration::enabled", False, "registration_net", same, None),
    ("registration::smoothness_weight", 0.7, "objective", attrgetter("smoothness_weight"), 0.7),
    ("registration::penalty", "bending", "objective", lambda x: type_name(x.smoothness.penalty), "BendingEnergyLoss"),
    ("registration::max_displacement", 7.0, "registration_net", attrgetter("max_displacement"), 7.0),
    ("registration::lr", 0.7, "optimizer", lr_of("R"), 0.7),
    ("refine::enabled", False, "refine_net", same, None),
    ("refine::enabled", False, "train::handlers", handler(DiagnosticsHandler, "refine"), False),
    ("refine::hidden_dim", 6, "refine_net", attrgetter("conv_in.out_channels"), 6),
    ("refine::num_blocks", 2, "refine_net", lambda net: len(net.blocks), 2),
    ("refine::fusion", "concat", "cascade", attrgetter("fusion"), "concat"),
    ("refine::fusion", "concat", "network_def", attrgetter("fusion"), "concat"),
    ("refine::fusion", "concat", "refine_net", attrgetter("conv_in.in_channels"), 3),
    ("refine::freeze_G", False, "cascade", attrgetter("generator_frozen"), False),
    ("refine::freeze_G", False, "network_def", attrgetter("generator_frozen"), False),
    ("refine::lr", 0.7, "optimizer", lr_of("G2"), 0.7),
    ("refine::lr_scheduler", "constant", "lr_scheduler", factor_at(20000), 1.0),
    ("refine::warmup_steps", 7, "lr_scheduler", factor_at(1), 1 / 7),
    ("discriminator::enabled", False, "discriminator_net", same, None),
    ("discriminator::gan_weight", 0.7, "train::trainer", attrgetter("gan_weight"), 0.7),
    ("discriminator::feat_match_weight", 0.7, "train::trainer", attrgetter("feat_match_weight"), 0.7),
    ("discriminator::mode", "hinge", "train::trainer", attrgetter("adversarial_loss.mode"), "hinge"),
    ("discriminator::mode", "hinge", "train::handlers", handler(DiscriminatorHealthHandler, "mode"), "hinge"),
    ("discriminator::num_scales", 2, "discriminator_net", lambda net: len(net.scales), 2),
    ("discriminator::num_layers", 2, "discriminator_net", lambda net: len(net.scales[0].layers), 3),
    ("discriminator::hidden_dim", 6, "discriminator_net", lambda net: net.scales[0].layers[0][0].out_channels, 6),
    ("discriminator::steps", 2, "train::trainer", attrgetter("d_train_steps"), 2),
    ("discriminator::steps", 2, "discriminator_lr_scheduler", factor_at(23850), 0.5),
    ("discriminator::warmup_epochs", 3, "train::trainer", attrgetter("warmup_epochs"), 3),
    ("discriminator::lr", 0.7, "discriminator_optimizer", lr_of("D"), 0.7),
    ("discriminator::lr_scheduler", "constant", "discriminator_lr_scheduler", factor_at(20000), 1.0),
    ("discriminator::warmup_steps", 7, "discriminator_lr_scheduler", factor_at(1), 1 / 7),
    ("ema::enabled", False, "average", attrgetter("average"), None),
    ("ema::decay", 0.7, "average", attrgetter("decay"), 0.7),
    ("train::num_epochs", 3, "train::trainer", attrgetter("state.max_epochs"), 3),
    ("train::num_epochs", 3, "lr_scheduler", factor_at(475), 0.5),
    ("train::steps_per_epoch", 5, "train::dataloader", len, 5),
    ("train::steps_per_epoch", 4, "discriminator_lr_scheduler", factor_at(285), 0.5),
    ("train::batch_size", 3, "train::dataloader", attrgetter("batch_size"), 3),
    ("train::batch_size", 3, "train::dataloader", len, 250),
    ("train::batch_size", 3, "validate::inferer", attrgetter("batch_size"), 3),
    ("train::weight_decay", 0.7, "optimizer", decays, {0.7}),
    ("train::grad_clip", 0.7, "update", attrgetter("max_norm"), 0.7),
    ("train::grad_clip", 0.7, "discriminator_update", attrgetter("max_norm"), 0.7),
    ("train::amp", "bf16", "train::trainer", attrgetter("precision"), "bf16"),
    ("train::amp", "bf16", "validate::inferer", attrgetter("amp"), "bf16"),
    ("train::device", "meta", "device", attrgetter("type"), "meta"),
    ("train::seed", 7, "seeded", lambda _: torch.initial_seed(), 7),
    ("train::seed", 7, "cases", attrgetter("seed"), 7),
    ("train::seed", 7, "train::dataset", attrgetter("seed"), 7),
    ("train::val_every", 3, "train::handlers", handler(ValidationHandler, "interval"), 3),
    ("train::checkpoint_every", 3, "train::handlers", handler(CheckpointHandler, "checkpoint_every"), 3),
    ("train::output_dir", "there", "train", attrgetter("folder.name"), "there"),
    ("train::output_dir", "there", "train::handlers", handler(CheckpointHandler, "folder.name"), "there"),
    ("train::output_dir", "there", "train::handlers", handler(MetricsLogHandler, "path.parent.name"), "there"),
    ("train::output_dir", "there", "validate::handlers", handler(PreviewHandler, "folder.parent.name"), "there"),
    ("train::pretrained_G", "g.pt", "train", attrgetter("settings.train.pretrained_G"), "g.pt"),
    ("train::pretrained_G2", "g2.pt", "train", attrgetter("settings.train.pretrained_G2"), "g2.pt"),
    ("train::skip_warmup", True, "train::trainer", attrgetter("warmup_epochs"), 0),
    ("train::resume", True, "train", attrgetter("settings.train.resume"), True),
    ("train::debug", True, "train::handlers", handler(DebugHandler, "enabled"), True),
]

# Where another setting must change with it.
WIRED_TOGETHER: list[tuple[dict[str, Any], str, Any, str, Callable[[Any], Any], Any]] = [
    (G_ALONE, "train::lr", 0.7, "optimizer", lr_of("G"), 0.7),
    (G_ALONE, "train::lr_scheduler", "constant", "lr_scheduler", factor_at(20000), 1.0),
    (G_ALONE, "train::warmup_steps", 7, "lr_scheduler", factor_at(1), 1 / 7),
    (VOLUMES, "model::spatial_dims", 3, "generator", attrgetter("spatial_dims"), 3),
    (VOLUMES, "model::spatial_dims", 3, "refine_net", lambda net: net.conv_in.weight.ndim, 5),
    (VOLUMES, "model::spatial_dims", 3, "registration_net", lambda net: next(net.parameters()).ndim, 5),
    (VOLUMES, "model::spatial_dims", 3, "discriminator_net", lambda net: type_name(net.pool), "AvgPool3d"),
    (VOLUMES, "model::spatial_dims", 3, "loss_function", attrgetter("ssim_loss.spatial_dims"), 3),
]


def part_with(settings: dict[str, Any], part: str) -> Any:
    workflow = SynthesisWorkflow(config_file="train.yaml", logging_file=False, **{**BASE, **settings})
    workflow.initialize()
    return workflow.parser.get_parsed_content(part)


CASES = [*(({}, *case) for case in WIRED), *WIRED_TOGETHER]


@pytest.mark.parametrize(
    ("also", "setting", "value", "part", "read", "expected"), CASES, ids=[f"{case[1]} in {case[3]}" for case in CASES]
)
def test_a_setting_reaches_its_part(
    also: dict[str, Any], setting: str, value: Any, part: str, read: Callable[[Any], Any], expected: Any
) -> None:
    assert read(part_with({**also, setting: value}, part)) == expected


def test_every_setting_is_looked_for() -> None:
    known = {f"{section}::{name}" for section, kind in section_types().items() for name in kind.__dataclass_fields__}
    assert {case[1] for case in CASES} == known


def test_d_has_the_momentum_of_a_gan() -> None:
    assert part_with({}, "discriminator_optimizer").param_groups[0]["betas"] == (0.5, 0.999)
