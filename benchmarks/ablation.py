"""What does a setting buy: ``python benchmarks/ablation.py``.

A base (``g_small``) and one change at a time train for equal process time: the seconds of a step are measured first,
and each training gets as many steps as fit. All are scored on cases that no training sees: held-out phantoms, and with
``--pairs FOLDER`` real pairs, both ways (train on all but one, score on that one). The table holds the means over the
cases and, where there are several seeds, their spread (standard deviation).

Wanted: fewer HU of error in the vessels, and no more elsewhere: a change that only buys vessels with false enhancement
raises the rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncct_cta import infer, train
from ncct_cta.data import read_case_list
from ncct_cta.demo.summary import means
from ncct_cta.engines.inference import OUTPUT_SUFFIX
from ncct_cta.evaluate.comparison import evaluate
from ncct_cta.evaluate.results import Method
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.runs.names import LAST

COLUMNS = ("vessel_mae_hu", "lung_mae_hu", "nonvessel_mae_hu", "enhancement_recovery", "lung_vessel_sharpness")
KINDS = ("ncct", "cta", "lung", "vessel")
CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "loss.enhancement_weight 4": {"loss::enhancement_weight": 4},
    "loss.body_only": {"loss::body_only": "true"},
    "data.vessel_share 0.5": {"data::vessel_share": 0.5},
    "data.flip": {"data::flip": "true"},
    "no augmentation": {"data::augment": "false"},
    "model.norm batch": {"model::norm": "batch"},
    "model.norm batch, loss.enhancement_weight 4": {"model::norm": "batch", "loss::enhancement_weight": 4},
    "loss.scales 3": {"loss::scales": 3},
}
FIRST_STEPS, SOME_STEPS = 2, 17  # of the two trainings that a step's time is the difference of


def train_for(steps: int, run: Path, datalist: Path, change: Mapping[str, Any], seed: int) -> float:
    """Train for so many steps; give the seconds of process time."""
    given = {
        "data::datalist": datalist,
        "train::num_epochs": 1,
        "train::steps_per_epoch": steps,
        "train::val_every": 2,  # never: it would count
        "train::seed": seed,
        "train::device": "cpu",
        "train::output_dir": run,
        **change,
    }
    start = time.process_time()
    train.main(["g_small", *[str(word) for name, value in given.items() for word in (f"--{name}", value)]])
    return time.process_time() - start


def scores_of(run: Path, datalist: Path) -> dict[str, dict[str, float]]:
    """The scores of the run's last weights on the test cases, and those of the identity."""
    predictions = run / "predictions"
    words = ["--checkpoint", str(run / LAST), "--input", str(datalist), "--output", str(predictions), "--overwrite"]
    infer.main([*words, "--device", "cpu"])
    held_out = read_case_list(datalist)["testing"]
    files = {case.name: predictions / f"{case.name}{OUTPUT_SUFFIX}" for case in held_out}
    return means(evaluate(held_out, [Method("run", files)], output=run / "evaluation"))


def compare(folder: Path, datalists: Sequence[Path], options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Of each change, and of the identity, the scores of every list and seed."""
    rows: dict[str, list[dict[str, float]]] = {}
    for name in options.only or CHANGES:
        for number, datalist in enumerate(datalists):
            for seed in range(options.seeds):
                place = folder / f"{'_'.join(name.split())}_{number}_{seed}"
                change = CHANGES[name]
                if not rows:  # the first of all prepares the cases, and PyTorch itself
                    train_for(1, folder / "first", datalist, change, seed)
                few = train_for(FIRST_STEPS, place / "few", datalist, change, seed)
                some = train_for(SOME_STEPS, place / "some", datalist, change, seed)
                step = (some - few) / (SOME_STEPS - FIRST_STEPS)
                steps = max(1, round(options.seconds / step))
                train_for(steps, place / "run", datalist, change, seed)
                scores = scores_of(place / "run", datalist)
                rows.setdefault(f"{name} ({steps} steps)" if options.seeds == 1 else name, []).append(scores["run"])
                print_table({name: [scores["run"]]})
                if name == "base":
                    rows.setdefault("identity", []).append(scores["identity"])
    return rows


def print_table(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Means, and the spread over lists and seeds where there are several."""
    print("| change | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    for name, scores in rows.items():
        cells = []
        for column in COLUMNS:
            values = [float(score.get(column, float("nan"))) for score in scores]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.2f}{spread}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def lists_of_pairs(pairs: Path, folder: Path) -> list[Path]:
    """A case list for each pair: it is scored, all others train."""
    names = sorted(path.name.removesuffix("_ncct.nii.gz") for path in pairs.glob("*_ncct.nii.gz"))
    entries = {
        name: {"case": name, **{kind: str((pairs / f"{name}_{kind}.nii.gz").resolve()) for kind in KINDS}}
        for name in names
    }
    lists = []
    folder.mkdir(parents=True, exist_ok=True)
    for left_out in names:
        others = [entry for name, entry in entries.items() if name != left_out]
        path = folder / f"without_{left_out}.json"
        # Validation never runs here, but a case list has one.
        path.write_text(json.dumps({"training": others, "validation": others[:1], "testing": [entries[left_out]]}))
        lists.append(path)
    return lists


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="process time of each training (default: 300)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each change (default: 3)")
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), help="these changes alone")
    parser.add_argument("--cases", type=int, default=14, help="phantoms (default: 14)")
    parser.add_argument("--small", action="store_true", help="phantoms of 96 x 96 x 48 voxels")
    parser.add_argument("--pairs", type=Path, help="real pairs, {case}_{ncct,cta,lung,vessel}.nii.gz, instead")
    parser.add_argument("--output", type=Path, help="keep the runs here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        if options.pairs:
            datalists = lists_of_pairs(options.pairs, folder / "lists")
        else:
            size: dict[str, Any] = {"shape": (96, 96, 48), "spacing": (3.5, 3.5, 5.25)} if options.small else {}
            datalists = [write_cohort(folder / "phantom", cases=options.cases, seed=0, **size)]
        rows = compare(folder, datalists, options)
    print()
    print_table(rows)


if __name__ == "__main__":
    main()
