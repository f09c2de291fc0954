"""Does uncertainty tell where the errors are, and do its intervals hold? ``python benchmarks/uncertainty.py``.

On phantoms: an ensemble of three small networks, trained from different seeds, and test-time augmentation of the first
of them. ``infer --uncertainty`` writes prediction and map of the validation and the testing cases, and ``evaluate``
judges them: the intervals are fitted on the validation cases, and everything printed is of the testing cases.

Target: the 90 % interval of the ensemble holds 87 to 93 % of the CTA's voxels in the vessels, and of those in the rest;
the AUROC of its map for errors above 100 HU is at least 0.85. Test-time augmentation stands beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ncct_cta.evaluate.command import main as evaluate
from ncct_cta.infer.command import main as infer
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.train.command import main as train

SIZE = {"shape": (64, 64, 32), "spacing": (5.25, 5.25, 8.0)}
COLUMNS = {
    "auroc_above_100_hu": ("AUROC, errors > 100 HU", 1, "{:.3f}"),
    "vessel_coverage": ("coverage, vessels", 100, "{:.1f} %"),
    "nonvessel_coverage": ("coverage, rest", 100, "{:.1f} %"),
    "vessel_interval_width_hu": ("width, vessels", 1, "{:.0f} HU"),
    "nonvessel_interval_width_hu": ("width, rest", 1, "{:.0f} HU"),
    "mae_hu": ("MAE, body", 1, "{:.1f} HU"),
    "mae_without_most_uncertain_tenth_hu": ("without the most uncertain tenth", 1, "{:.1f} HU"),
    "mae_without_largest_errors_tenth_hu": ("without the largest errors' tenth", 1, "{:.1f} HU"),
}


def split_cohort(folder: Path, options: argparse.Namespace) -> Path:
    """A cohort with the wanted number of cases in each split."""
    counts = {"training": options.training, "validation": options.validation, "testing": options.testing}
    datalist = write_cohort(folder, cases=sum(counts.values()), seed=options.seed, **SIZE)
    content = json.loads(datalist.read_text())
    entries = sorted((entry for split in counts for entry in content[split]), key=lambda entry: entry["case"])
    for split, count in counts.items():
        content[split], entries = entries[:count], entries[count:]
    datalist.write_text(json.dumps(content, indent=2))
    return datalist


def train_member(folder: Path, datalist: Path, seed: int, options: argparse.Namespace) -> None:
    preset = folder.parent / "preset.yaml"
    preset.parent.mkdir(parents=True, exist_ok=True)
    preset.write_text("model: {channels: [16, 32, 64], num_res_units: 1}\n")
    settings = {
        "data::datalist": datalist,
        "data::patch_size": "[64, 64]",
        "data::cache_dir": folder.parent / "cache",
        "ema::decay": 0.99,
        "train::lr": 1e-3,
        "train::warmup_steps": 20,
        "train::batch_size": 8,
        "train::num_epochs": 1,
        "train::steps_per_epoch": options.steps,
        "train::seed": seed,
        "train::device": options.device,
        "train::output_dir": folder,
    }
    train([str(preset), *(str(word) for key, value in settings.items() for word in (f"--{key}", value))])


def judged(folder: Path, datalist: Path, options: argparse.Namespace) -> dict[str, list[dict[str, str]]]:
    """The rows of ``uncertainty.csv`` by method."""
    runs = [folder / "runs" / f"g{seed}" for seed in range(options.members)]
    methods = {
        f"ensemble of {len(runs)}": ["--run", *map(str, runs)],
        f"{options.tta} movements": ["--run", str(runs[0]), "--tta", str(options.tta)],
        "ensemble, moved": ["--run", *map(str, runs), "--tta", str(options.tta)],
    }
    sources = []
    for name, words in methods.items():
        output = folder / "predictions" / name
        for split in ("validation", "testing"):
            where = ["--input", str(datalist), "--split", split, "--output", str(output), "--device", options.device]
            infer([*words, "--uncertainty", *where])
        sources += ["--pred", f"{name}={output}"]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluate([*sources, "--datalist", str(datalist), "--output", str(folder / "scores"), "--no-report"])
    with open(folder / "scores" / "uncertainty.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row for row in rows if row["method"] == name] for name in methods}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=3, help="networks of the ensemble (default: 3)")
    parser.add_argument("--tta", type=int, default=8, help="movements of test-time augmentation (default: 8)")
    parser.add_argument("--steps", type=int, default=400, help="steps of each network (default: 400)")
    parser.add_argument("--training", type=int, default=10, help="training cases (default: 10)")
    parser.add_argument("--validation", type=int, default=6, help="cases the intervals are fitted on (default: 6)")
    parser.add_argument("--testing", type=int, default=6, help="held-out cases (default: 6)")
    parser.add_argument("--seed", type=int, default=0, help="of the phantoms (default: 0)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="keep everything here (default: a temporary folder)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        datalist = split_cohort(folder / "cohort", options)
        for seed in range(options.members):
            train_member(folder / "runs" / f"g{seed}", datalist, seed, options)
        found = judged(folder, datalist, options)
    print(f"\n{options.testing} held-out phantoms: mean, and from the lowest case to the highest\n")
    print("| | " + " | ".join(found) + " |\n|---|" + "---|" * len(found))
    for column, (title, factor, form) in COLUMNS.items():
        cells = []
        for rows in found.values():
            values = [factor * float(row[column]) for row in rows if row[column]]
            cells.append(
                f"{form.format(np.mean(values))} ({form.format(min(values))} to {form.format(max(values))})"
                if values
                else "n/a"
            )
        print(f"| {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
