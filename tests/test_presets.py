"""Every preset that lies in ``configs/`` is plain, short, says how it is started, and trains, resumes and infers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from ncct_cta.infer.command import main as infer
from ncct_cta.runs.names import BEST, LAST
from ncct_cta.settings.places import presets_root
from ncct_cta.settings.whole import Settings, section_types
from ncct_cta.train.command import main as train

ROOT = Path(presets_root())
PRESETS = sorted(ROOT.rglob("*.y*ml"))
EVERY_PRESET = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.relative_to(ROOT).stem)
WIRING = ("workflow_name", "config_file")

# What makes any preset tiny; of settings that a version doesn't know yet nothing is asked.
TINY: dict[str, dict[str, Any]] = {
    "data": {"num_workers": 0, "spacing": None},
    "model": {"channels": [4, 8], "num_res_units": 1},
    "refine": {"hidden_dim": 4, "num_blocks": 1},
    "discriminator": {"hidden_dim": 4, "num_scales": 2, "num_layers": 1, "warmup_epochs": 0},
    "train": {
        "num_epochs": 1,
        "steps_per_epoch": 2,
        "batch_size": 2,
        "warmup_steps": 0,
        "val_every": 1,
        "device": "cpu",
        "lr": 1e-2,
        "pretrained_G": "",  # its weights don't fit
    },
}


def content_of(preset: Path) -> dict[str, Any]:
    return yaml.safe_load(preset.read_text())


def section(preset: Path, name: str) -> dict[str, Any]:
    return content_of(preset).get(name) or {}


def spatial_dims(preset: Path) -> int:
    return section(preset, "model").get("spatial_dims", Settings().model.spatial_dims)


def strings_of(content: Any) -> list[str]:
    if isinstance(content, dict):
        return [text for key, value in content.items() for text in [str(key), *strings_of(value)]]
    if isinstance(content, list):
        return [text for value in content for text in strings_of(value)]
    return [content] if isinstance(content, str) else []


def test_presets_are_found():
    assert {"g", "g_small", "g_3d", "pix2pix"} <= {preset.stem for preset in PRESETS}


@EVERY_PRESET
def test_a_preset_is_plain_data(preset):
    content = content_of(preset)
    assert content["config_file"].startswith("bundles/ncct_cta/configs/")
    settings = {name: values for name, values in content.items() if name not in WIRING}
    for text in strings_of(settings):
        assert not text.startswith(("$", "@", "%"))
        assert not re.fullmatch(r"_\w+_", text)
    Settings.parse(settings)  # no unknown name, no value out of range


@EVERY_PRESET
def test_a_preset_is_short_and_begins_with_its_launch_command(preset):
    lines = preset.read_text().splitlines()
    assert len(lines) <= 15
    shown = f"configs/{preset.relative_to(ROOT)}"
    assert re.match(rf"# python -m monai\.bundle run training --args_file {re.escape(shown)}( |$)", lines[0])


@EVERY_PRESET
def test_two_presets_never_share_an_output_folder(preset):
    folders = {other: section(other, "train").get("output_dir") for other in PRESETS}
    assert folders[preset]
    assert list(folders.values()).count(folders[preset]) == 1


@pytest.fixture(scope="module")
def run_preset(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Train a preset, made tiny; nets that it builds on are trained first."""
    folder = tmp_path_factory.mktemp("presets")
    bases: dict[int, Path] = {}

    def base(dims: int) -> Path:
        if dims not in bases:
            bases[dims] = run(next(p for p in PRESETS if p.stem == {2: "g_small", 3: "g_3d"}[dims]), name=f"base{dims}")
        return bases[dims] / BEST

    def run(preset: Path, *more: str, name: str = "", **settings: Any) -> Path:
        dims, output = spatial_dims(preset), folder / (name or preset.stem)
        tiny = {key: dict(values) for key, values in TINY.items()}
        # These take no other number of levels, or no fewer.
        levels = {"basic_unet": 5, "unet_plus_plus": 5, "dynunet": 3}.get(
            section(preset, "model").get("architecture", ""), 0
        )
        tiny["model"]["channels"] = [4] * levels or tiny["model"]["channels"]
        tiny["data"] |= {"patch_size": [32, 32, 16][:dims], "datalist": str(cohort)}
        tiny["train"] |= {"output_dir": str(output), **settings}
        if section(preset, "train").get("amp") == "fp16":
            tiny["train"]["amp"] = "bf16"  # a CPU has no fp16
        if section(preset, "refine").get("enabled"):
            tiny["train"] |= {"pretrained_G": str(base(dims)), "pretrained_G2": ""}
        known = section_types()
        words = [
            word
            for name, values in tiny.items()
            for key, value in values.items()
            if name in known and key in known[name].__dataclass_fields__
            for word in (f"--{name}::{key}", yaml.safe_dump(value, default_flow_style=True).strip().split("\n")[0])
        ]
        train([str(preset), *more, *words])
        return output

    return run


@pytest.mark.slow
@EVERY_PRESET
def test_a_preset_trains_resumes_and_infers(preset, run_preset, cohort, tmp_path):
    run = run_preset(preset)
    first = torch.load(run / LAST, weights_only=True)
    run_preset(preset, "--resume", num_epochs=2)
    second = torch.load(run / LAST, weights_only=True)
    assert (first["trainer"]["iteration"], second["trainer"]["iteration"]) == (2, 4)
    assert any(not torch.equal(first["ema"][name], second["ema"][name]) for name in first["ema"])
    infer(["--input", str(cohort / "datalist.json"), "--run", str(run), "--output", str(tmp_path), "--device", "cpu"])
    (written,) = tmp_path.glob("*_syncta.nii.gz")
    synthetic = nib.load(written)
    ncct = nib.load(cohort / written.name.replace("_syncta", "_ncct"))
    assert synthetic.get_data_dtype() == np.int16
    assert np.array_equal(synthetic.affine, ncct.affine)
    assert synthetic.shape == ncct.shape
    assert not np.array_equal(np.asarray(synthetic.dataobj), np.asarray(ncct.dataobj))
