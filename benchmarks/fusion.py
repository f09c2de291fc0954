"""What should G2 see? ``python benchmarks/fusion.py --pairs FOLDER``.

``product``: x * |G(x)| alone, which G2 refines. ``concat``: that, x and G(x) as three channels, and G2 refines G(x).
Where x is near 0 the product is near 0 whatever G said, so G's information is lost there.

On phantoms and, if there are any, on real pairs: G is trained first and frozen, then a G2 of each fusion for as many
steps, with the same seeds. The table holds the errors of the averaged weights on the validation cases. With two real
pairs, one trains and the other validates: that shows that it runs on real anatomy, and nothing about patients.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.runs.names import LAST
from ncct_cta.train.command import main as train

COLUMNS = {"mae_hu": "body", "lung_mae_hu": "lung", "vessel_mae_hu": "vessels"}
KINDS = ("ncct", "cta", "lung", "vessel")


def run(folder: Path, datalist: Path, settings: Mapping[str, Any], options: argparse.Namespace) -> dict[str, str]:
    """Train one net; give the last row of its metrics."""
    common = {
        "data::datalist": datalist,
        "data::patch_size": "[64, 64]",
        "data::cache_dir": folder.parent / "cache",
        "ema::decay": 0.99,
        "train::lr": options.lr,
        "train::warmup_steps": 20,
        "train::batch_size": 4,
        "train::num_epochs": 1,
        "train::steps_per_epoch": options.steps,
        "train::device": options.device,
        "train::seed": options.seed,
        "train::output_dir": folder,
    }
    preset = folder.parent / "preset.yaml"
    preset.parent.mkdir(parents=True, exist_ok=True)
    preset.write_text("model: {channels: [16, 32, 64], num_res_units: 1}\n")
    given = common | dict(settings)
    train([str(preset), *(str(word) for key, value in given.items() for word in (f"--{key}", value))])
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))[-1]


def compare(folder: Path, datalist: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Errors in HU of the identity, of G, and of G2 with each fusion."""
    g = run(folder / "g", datalist, {}, options)
    rows = {"identity": [float(g[f"identity_{name}"]) for name in COLUMNS]}
    rows["G"] = [float(g[f"val_{name}"]) for name in COLUMNS]
    for fusion in ("product", "concat"):
        settings = {
            "refine::enabled": "true",
            "refine::fusion": fusion,
            "refine::hidden_dim": options.hidden_dim,
            "refine::num_blocks": 3,
            "refine::lr": options.lr,
            "refine::warmup_steps": 20,
            "train::pretrained_G": folder / "g" / LAST,
        }
        metrics = run(folder / fusion, datalist, settings, options)
        rows[f"G2, {fusion}"] = [float(metrics[f"val_{name}"]) for name in COLUMNS]
    return rows


def datalist_of_pairs(pairs: Path, folder: Path) -> Path | None:
    """A case list of the pairs, of which the last one validates; None if there are fewer than two."""
    names = sorted(path.name.removesuffix("_ncct.nii.gz") for path in pairs.glob("*_ncct.nii.gz"))
    if len(names) < 2:
        return None
    entries = [
        {"case": name, **{kind: str((pairs / f"{name}_{kind}.nii.gz").resolve()) for kind in KINDS}} for name in names
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "datalist.json"
    path.write_text(json.dumps({"training": entries[:-1], "validation": entries[-1:], "testing": []}, indent=2))
    return path


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, help="folder of {case}_{ncct,cta,lung,vessel}.nii.gz, at least two cases")
    parser.add_argument("--steps", type=int, default=300, help="steps of G, and of each G2 (default: 300)")
    parser.add_argument("--hidden-dim", type=int, default=16, help="features of G2 (default: 16)")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of all nets (default: 1e-3)")
    parser.add_argument("--cases", type=int, default=10, help="phantoms (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="keep the runs here (default: a temporary folder)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        size = {"shape": (64, 64, 32), "spacing": (5.25, 5.25, 8.0)}
        datalists = {
            "phantom": write_cohort(folder / "cohort", cases=options.cases, seed=options.seed, **size),
            "real pairs": datalist_of_pairs(options.pairs, folder / "pairs") if options.pairs else None,
        }
        tables = {
            name: compare(folder / name.replace(" ", "_") / "runs", datalist, options)
            for name, datalist in datalists.items()
            if datalist
        }
    for name in datalists:
        if name not in tables:
            print(f"\n{name}: skipped, give a folder with at least two cases (--pairs)")
            continue
        print(f"\n{name}: MAE in HU on the validation cases, {options.steps} steps for each net\n")
        print("| prediction | " + " | ".join(COLUMNS.values()) + " |\n|---|" + "---|" * len(COLUMNS))
        for method, errors in tables[name].items():
            print(f"| {method} | " + " | ".join(f"{error:.1f}" for error in errors) + " |")


if __name__ == "__main__":
    main()
