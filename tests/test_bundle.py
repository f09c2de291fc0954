"""The bundle as MONAI's own command line sees it: training, inference, export, verification."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from ignite.engine import Events
from monai.bundle import ConfigWorkflow, verify_metadata, verify_net_in_out

from ncct_cta.common import keys
from ncct_cta.common.hu import HUWindow
from ncct_cta.infer.command import main as infer
from ncct_cta.runs.names import BEST, LAST, SETTINGS
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.settings.places import bundle_config
from ncct_cta.train.workflow import SynthesisWorkflow

CHECKOUT = Path(__file__).resolve().parents[1]
SCHEMA = Path(__file__).parent / "files" / "metadata_schema.json"
TRAIN, INFERENCE, METADATA = (bundle_config(name) for name in ("train.yaml", "inference.yaml", "metadata.json"))


def command(*words: object) -> subprocess.Popen[str]:
    """Start ``python -m ...`` in the checkout."""
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        cwd=CHECKOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]
    return output


@pytest.fixture(scope="module")
def runs(cohort: Path, tiny_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The runs of each form of design.md, of a preset through two of them; two at a time."""
    folder = tmp_path_factory.mktemp("bundle")
    bundle = ("monai.bundle", "run", "training")
    forms = {
        "bundle": (*bundle, "--config_file", "bundles/ncct_cta/configs/train.yaml"),
        "preset": (*bundle, "--args_file", "configs/g_small.yaml"),
        "command": ("ncct_cta.train", "configs/g_small.yaml"),
    }

    def start(form: str) -> subprocess.Popen[str]:
        places = ("--data::datalist", cohort / "datalist.json", "--train::output_dir", folder / form)
        return command(*forms[form], *tiny_settings, *places)

    first, second = start("bundle"), start("preset")
    finish(first)
    third = start("command")
    finish(second)
    again = command(
        *bundle, "--config_file", folder / "preset" / "config.yaml", "--train::output_dir", folder / "config"
    )
    finish(third)
    finish(again)
    return {name: folder / name for name in (*forms, "config")}


def checkpoint(run: Path, name: str = LAST) -> dict:
    return torch.load(run / name, weights_only=True)


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = checkpoint(one), checkpoint(other)
    return all(
        ours[part].keys() == theirs[part].keys()
        and all(torch.equal(value, theirs[part][name]) for name, value in ours[part].items())
        for part in ("network", "ema")
    )


@pytest.mark.slow
def test_the_bundle_alone_trains(runs):
    assert (runs["bundle"] / BEST).is_file()
    settings = checkpoint(runs["bundle"])[SETTINGS]
    assert settings["model"]["channels"] == [4, 8]  # overrides reach the run
    assert settings["ema"]["decay"] == 0.999  # and nothing of a preset does
    assert all(torch.isfinite(value).all() for value in checkpoint(runs["bundle"])["ema"].values())


@pytest.mark.slow
def test_a_preset_starts_the_same_run_through_monai_and_through_the_command(runs):
    assert checkpoint(runs["preset"])[SETTINGS]["ema"]["decay"] == 0.99  # the preset's
    assert same_weights(runs["preset"], runs["command"])
    metrics = [(runs[name] / "metrics.csv").read_text() for name in ("preset", "command")]
    assert metrics[0] == metrics[1]


@pytest.mark.slow
def test_the_config_of_a_run_alone_starts_the_same_run(runs):
    assert same_weights(runs["preset"], runs["config"])
    settings = [checkpoint(runs[name])[SETTINGS] for name in ("preset", "config")]
    for each in settings:
        each["train"].pop("output_dir")
        each["data"].pop("datalist")
    assert settings[0] == settings[1]


@pytest.mark.slow
def test_a_run_holds_what_design_promises(runs):
    names = {path.name for path in runs["preset"].iterdir()}
    assert {LAST, BEST, "config.yaml", "metrics.csv", "train.log", "tensorboard", "previews"} <= names
    assert "epoch 1/1" in (runs["preset"] / "train.log").read_text()


@pytest.mark.slow
def test_inference_through_the_bundle_writes_what_infer_writes(trained_run, cohort, tmp_path):
    source = ("--input", cohort / "datalist.json")
    bundle = command(
        "monai.bundle", "run", "--config_file", INFERENCE, "--run_dir", trained_run, *source,
        "--output", tmp_path / "bundle", "--device_name", "cpu",
    )  # fmt: skip
    infer([*map(str, source), "--run", str(trained_run), "--output", str(tmp_path / "infer"), "--device", "cpu"])
    finish(bundle)
    (by_bundle,), (by_infer,) = ((tmp_path / name).glob("*.nii.gz") for name in ("bundle", "infer"))
    assert by_bundle.name == by_infer.name
    one, other = nib.load(by_bundle), nib.load(by_infer)
    assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    assert one.header == other.header


@pytest.mark.slow
def test_the_export_gives_what_infer_gives(trained_run, cohort, tmp_path):
    exported = tmp_path / "model.ts"
    finish(
        command(
            "monai.bundle", "ckpt_export", "network_def", "--filepath", exported, "--key_in_ckpt", "ema",
            "--ckpt_file", trained_run / BEST, "--config_file", trained_run / "config.yaml",
            "--meta_file", trained_run / "metadata.json",
        )
    )  # fmt: skip
    model = TrainedModel(str(trained_run), device="cpu")
    window = HUWindow(*model.settings.data.window)
    ncct = nib.load(next(cohort.glob("*_ncct.nii.gz"))).get_fdata(dtype=np.float32)
    slices = window.normalise(torch.from_numpy(ncct)).permute(2, 0, 1)[:, None].contiguous()
    script = torch.jit.load(exported).eval()
    with torch.no_grad():
        expected = model.cascade(slices).refined
        assert (script(slices) - expected).abs().max() <= 1e-6
        assert (expected - slices).abs().max() > 1e-3  # or it would prove nothing


def test_the_averaged_weights_are_exported_and_inferred_with(trained_run):
    best = checkpoint(trained_run, BEST)
    used = TrainedModel(str(trained_run), device="cpu").cascade.state_dict()
    assert all(torch.equal(value, used[name]) for name, value in best["ema"].items())
    assert any(not torch.equal(value, used[name]) for name, value in best["network"].items())


def test_validation_uses_the_averaged_weights_and_best_holds_those(cohort, tmp_path, tiny_settings):
    given = dict(zip(tiny_settings[::2], tiny_settings[1::2], strict=True))
    overrides = {name[2:]: yaml.safe_load(value) for name, value in given.items()}
    overrides |= {"data::datalist": str(cohort), "train::output_dir": str(tmp_path / "run"), "train::num_epochs": 2}
    workflow = SynthesisWorkflow(config_file=TRAIN, **overrides)
    workflow.initialize()
    evaluator = workflow.parser.get_parsed_content("validate::evaluator")
    average = workflow.parser.get_parsed_content("average")
    validated = {}

    def note(engine):
        weights = {name: value.clone() for name, value in engine.network.state_dict().items()}
        validated[engine.state.metrics[keys.VAL_LOSS]] = weights

    evaluator.add_event_handler(Events.COMPLETED, note)
    workflow.run()
    workflow.finalize()
    assert evaluator.network is average.averaged
    assert len(validated) == 2
    expected = validated[min(validated)]
    best = checkpoint(tmp_path / "run", BEST)["ema"]
    assert best.keys() == expected.keys()
    assert all(torch.equal(best[name], expected[name]) for name in expected)


@pytest.mark.parametrize("config", [TRAIN, INFERENCE], ids=["train", "inference"])
def test_the_network_is_what_metadata_says(config):
    verify_net_in_out("network_def", meta_file=METADATA, config_file=config, device="cpu")


@pytest.mark.slow
def test_verification_from_the_command_line(trained_run, tmp_path):
    network = command(
        "monai.bundle", "verify_net_in_out", "network_def", "--meta_file", METADATA, "--config_file", TRAIN,
        "--device", "cpu", "--model::channels", "[4, 8]",
    )  # fmt: skip
    shutil.copyfile(SCHEMA, tmp_path / "schema.json")
    metadata = command(
        "monai.bundle", "verify_metadata", "--meta_file", METADATA, "--filepath", tmp_path / "schema.json"
    )
    assert "verified with no error" in finish(network)
    assert "verified with no error" in finish(metadata)


def test_metadata_fits_monais_schema(tmp_path):
    schema = shutil.copyfile(SCHEMA, tmp_path / "schema.json")  # it is there, so MONAI downloads nothing
    verify_metadata(meta_file=METADATA, filepath=schema)


def test_metadata_without_a_version_does_not(tmp_path):
    schema = shutil.copyfile(SCHEMA, tmp_path / "schema.json")
    content = json.loads(Path(METADATA).read_text())
    content.pop("monai_version")
    (tmp_path / "metadata.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="monai_version"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=schema)


@pytest.mark.parametrize(
    ("workflow", "config", "kind", "run_id"),
    [
        (ConfigWorkflow, TRAIN, "train", "training"),
        (SynthesisWorkflow, TRAIN, "train", "training"),
        (ConfigWorkflow, INFERENCE, "infer", "run"),
    ],
    ids=["train", "train, our workflow", "inference"],
)
def test_no_property_is_missing_and_no_data_is_needed_to_see_that(
    workflow, config, kind, run_id, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    made = workflow(config_file=config, workflow_type=kind, run_id=run_id, meta_file=METADATA, logging_file=False)
    made.initialize()
    assert not made.check_properties()
    assert list(tmp_path.iterdir()) == []
