"""One damaged input, a command on it, and what may come of it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from .damage_scans import Damage, damage_dicom, damage_nifti
from .damage_texts import damage_checkpoint, damage_csv, damage_list, damage_yaml
from .findings import LEFTOVER, SILENT, STATUS, Findings, leftovers
from .forked import Ended, run
from .material import MAINS, TINY, TINY_NETWORK, Material, linked_cohort, own_copy


@dataclass(frozen=True)
class Case:
    """A command on a damaged input.

    Args:
        words: the command and its words.
        damage: what was done to the input.
        expected: files that the undamaged input gives, by the pattern that finds the damaged one's in the case's
            folder; where the damage is noticeable they must be equal, or come with a word.
    """

    words: list[str | Path]
    damage: Damage
    expected: dict[str, Path]


Scenario = Callable[[random.Random, Material, Path], Case]


def infer_nifti(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged volume alone, or beside a good one."""
    inputs = folder / "in"
    inputs.mkdir()
    path = Path(shutil.copyfile(material.ncct, inputs / "phantom003_ncct.nii.gz"))
    damage = damage_nifti(rng, path)
    expected = {"out/phantom003_syncta.nii.gz": material.reference / "infer" / "phantom003_syncta.nii.gz"}
    beside = rng.random() < 0.25
    if beside:
        (inputs / "phantom002_ncct.nii.gz").symlink_to(material.cohort / "phantom002_ncct.nii.gz")
    return Case([*_infer(material), "--input", inputs if beside else path, "--output", "out"], damage, expected)


def infer_dicom(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged series."""
    series = Path(shutil.copytree(material.dicom, folder / "dicom"))
    damage = damage_dicom(rng, series)
    (reference,) = (material.reference / "infer_dicom").glob("*_syncta.nii.gz")
    words = [*_infer(material), "--input", series, "--output", "out", *(["--dicom"] if rng.random() < 0.5 else [])]
    return Case(words, damage, {"out/*_syncta.nii.gz": reference})


def scan_dicom(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged series, listed."""
    series = Path(shutil.copytree(material.dicom, folder / "dicom"))
    return Case(["prepare", "scan", series, "--output", "out"], damage_dicom(rng, series), {})


def evaluate_prediction(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged prediction among good ones."""
    predictions = Path(shutil.copytree(material.reference / "cohort", folder / "pred"))
    damage = damage_nifti(rng, rng.choice(sorted(predictions.glob("*.nii.gz"))))
    words = [
        "evaluate",
        "--pred",
        f"x={predictions}",
        "--datalist",
        material.cohort,
        "--split",
        "all",
        "--output",
        "out",
    ]
    expected = {"out/scores.csv": material.reference / "evaluate" / "scores.csv"}
    return Case([*words, *([] if rng.random() < 0.2 else ["--no-report"])], damage, expected)


def train_on_volume(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged volume of a cohort that is trained on."""
    cohort = linked_cohort(material, folder / "cohort")
    damage = damage_nifti(rng, own_copy(rng.choice(sorted(cohort.glob("*.nii.gz")))))
    return Case([*_train(cohort, "g"), *TINY_NETWORK], damage, {})


def prepare_pairs(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged scan of a pair, or a damaged list."""
    linked_cohort(material, folder / "cohort")
    pairs = Path(shutil.copyfile(material.folder / "pairs.csv", folder / "pairs.csv"))
    expected = {}
    if rng.random() < 0.4:
        damage = damage_csv(rng, pairs)
    else:
        kind = rng.choice(("ncct", "cta"))
        damage = damage_nifti(rng, own_copy(folder / "cohort" / f"phantom000_{kind}.nii.gz"))
        expected = {f"out/c0_{kind}.nii.gz": material.reference / "prepare" / f"c0_{kind}.nii.gz"}
    return Case(["prepare", "pairs", pairs, "--output", "out", "--no-deformable", "--jobs", "2"], damage, expected)


def train_from_yaml(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged preset."""
    preset = folder / "mine.yaml"
    lines = (material.run / "config.yaml").read_text() if rng.random() < 0.3 else PRESET
    preset.write_text(lines)
    return Case([*_train(material.cohort, preset)], damage_yaml(rng, preset), {})


def infer_from_record(rng: random.Random, material: Material, folder: Path) -> Case:
    """A run whose config.yaml is damaged."""
    own = _own_run(material, folder)
    damage = damage_yaml(rng, own / "config.yaml")
    return Case(["infer", "--run", own, "--device", "cpu", "--input", material.ncct, "--output", "out"], damage, {})


def infer_from_checkpoint(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged checkpoint of a run, or alone."""
    own = _own_run(material, folder)
    damage = damage_checkpoint(rng, own / "checkpoint_best.pt")
    given = ["--run", own] if rng.random() < 0.5 else ["--checkpoint", own / "checkpoint_best.pt"]
    words = ["infer", *given, "--device", "cpu", "--input", material.ncct, "--output", "out"]
    return Case(words, damage, {"out/phantom003_syncta.nii.gz": _reference(material)})


def train_from_checkpoint(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged checkpoint that a training goes on from, or starts from."""
    own = _own_run(material, folder)
    if rng.random() < 0.5:
        damage = damage_checkpoint(rng, own / "checkpoint_last.pt")
        words = [*_train(material.cohort, "g", own), *TINY_NETWORK, "--resume", "--num_epochs", "2"]
    else:
        damage = damage_checkpoint(rng, own / "checkpoint_best.pt")
        words = [*_train(material.cohort, "g"), *TINY_NETWORK, "--pretrained_G", own / "checkpoint_best.pt"]
    return Case(words, Damage(damage.name, noticeable=False), {})


def on_list(rng: random.Random, material: Material, folder: Path) -> Case:
    """A damaged case list, for each command that takes one."""
    cohort = linked_cohort(material, folder / "cohort")
    datalist = cohort / "datalist.json"
    damage = damage_list(rng, datalist)
    given = rng.choice((datalist, cohort))
    words = rng.choice(
        (
            [*_infer(material), "--input", given, "--output", "out"],
            [*_train(given, "g"), *TINY_NETWORK],
            [
                "evaluate",
                "--pred",
                f"x={material.reference / 'cohort'}",
                "--datalist",
                given,
                "--output",
                "out",
                "--no-report",
            ],
        )
    )
    return Case(words, damage, {})


SCENARIOS: dict[str, tuple[Scenario, int]] = {
    "infer nifti": (infer_nifti, 28),
    "infer dicom": (infer_dicom, 16),
    "prepare scan": (scan_dicom, 6),
    "evaluate nifti": (evaluate_prediction, 8),
    "train nifti": (train_on_volume, 6),
    "prepare pairs": (prepare_pairs, 4),
    "train yaml": (train_from_yaml, 8),
    "infer yaml": (infer_from_record, 4),
    "infer checkpoint": (infer_from_checkpoint, 8),
    "train checkpoint": (train_from_checkpoint, 4),
    "lists": (on_list, 8),
}
PRESET = (
    "data: {window: [-1000, 600], patch_size: [32, 32], augment: true}\nmodel: {channels: [4, 8], num_res_units: 0}\n"
)
PRESET += "loss: {lung_weight: 2.0}\nema: {decay: 0.9}\ntrain: {lr: 0.01, seed: 3, warmup_steps: 2, amp: 'off'}\n"


def run_case(seed: int, number: int, material: Material, folder: Path, findings: Findings) -> tuple[Case, Ended]:
    """Make a case anew from the campaign's seed and its number, run it, and count what is wrong."""
    rng = random.Random(f"{seed}/{number}")
    room = rng.choices(list(SCENARIOS), [weight for _, weight in SCENARIOS.values()])[0]
    folder.mkdir()
    case = SCENARIOS[room][0](rng, material, folder)
    before = set(leftovers(folder))
    command, *words = case.words
    ended = run(MAINS[str(command)], words, folder)
    example = f"--seed {seed} --case {number}: {case.damage.name}"
    findings.judge(room, example, ended)
    if ended.status not in (0, 1, 2, 3, None):
        findings.add(room, STATUS, f"{example}: exit status {ended.status}: {ended.said[-300:]}")
    if left := sorted(set(leftovers(folder)) - before):
        findings.add(room, LEFTOVER, f"{example}: {left[:3]}")
    if case.damage.noticeable and not ended.has_word:
        different = [pattern for pattern, path in case.expected.items() if not _as_expected(folder, pattern, path)]
        if different:
            findings.add(room, SILENT, f"{example}: {different} differ without a word: {ended.said[-300:]}")
    return case, ended


def _as_expected(folder: Path, pattern: str, reference: Path) -> bool:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        return not found
    if reference.suffix == ".csv":
        return found[0].read_bytes() == reference.read_bytes()
    ours, others = (nib.load(path) for path in (found[0], reference))
    return np.allclose(ours.affine, others.affine, atol=1e-4) and np.array_equal(
        np.asanyarray(ours.dataobj), np.asanyarray(others.dataobj)
    )


def _infer(material: Material) -> list[str | Path]:
    return ["infer", "--run", material.run, "--device", "cpu"]


def _train(datalist: Path, config: str | Path, output: Path | str = "run") -> list[str | Path]:
    return [
        "train",
        config,
        *TINY,
        "--data::datalist",
        datalist,
        "--data::cache_dir",
        "cache",
        "--train::output_dir",
        output,
    ]


def _own_run(material: Material, folder: Path) -> Path:
    return Path(
        shutil.copytree(material.run, folder / "trained", ignore=shutil.ignore_patterns("tensorboard", ".lock"))
    )


def _reference(material: Material) -> Path:
    return material.reference / "infer" / "phantom003_syncta.nii.gz"
