"""What does a setting buy: ``python benchmarks/ablation.py``.

A base (``g_small``) and one change at a time train for equal process time: the seconds of a step are measured first,
and each training gets as many steps as fit. All are scored on cases that no training sees: held-out phantoms, and with
``--pairs FOLDER`` real pairs, both ways (train on all but one, score on that one). ``--refine`` trains a G2 on each of
them for half as long again. ``--adversary`` goes on with each G2 for as long again: alone (``none``), and against a D.
The table holds the means over cases, lists and seeds, and beside them the spread over seeds and lists (standard
deviation). Shape is the error in the vessels after one gain a case: what the contrast's level doesn't explain.
Beside them stand the identity and a ceiling: the NCCT, raised by one number where the CTA's vessels are. Who finds
every voxel of blood, and knows nothing of how contrast flows, does no better.

Wanted: fewer HU of error in the vessels, and no more elsewhere: a change that only buys vessels with false enhancement
raises the rest, and the volume of false vessels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ncct_cta import infer
from ncct_cta.common.hu import ENHANCEMENT_HU, HUWindow, to_int16_hu
from ncct_cta.compare.equal_time import TimedTraining, steps_within
from ncct_cta.data import Case, read_case_list
from ncct_cta.engines.inference import OUTPUT_SUFFIX
from ncct_cta.evaluate.case_scores import score_case
from ncct_cta.evaluate.results import IDENTITY, Method
from ncct_cta.metrics.catalogue import columns
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.runs.names import LAST
from ncct_cta.settings import DataConfig
from ncct_cta.volumes.nifti import Volume, read_ct, read_mask
from ncct_cta.volumes.nifti_write import write_like

COLUMNS = {
    "vessel_mae_hu": "vessels",
    "vessel_shape_mae_hu": "shape",
    "lung_mae_hu": "lungs",
    "nonvessel_mae_hu": "rest",
    "enhancement_recovery": "recovery",
    "false_vessel_ml": "false, ml",
    "missed_vessel_ml": "missed, ml",
    "lung_vessel_detail": "detail",
}
CEILING = "ceiling"
KINDS = ("ncct", "cta", "lung", "vessel")
PATCH_128 = {"data::patch_size": "[128,128]"}
CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "model.in_slices 3": {"model::in_slices": 3},
    "model.in_slices 5": {"model::in_slices": 5},
    "data.patch_size 128": PATCH_128,
    "loss.enhancement_weight 1": {"loss::enhancement_weight": 1},
    "loss.enhancement_weight 4": {"loss::enhancement_weight": 4},
    "loss.body_only": {"loss::body_only": "true"},
    "data.vessel_share 0.5": {"data::vessel_share": 0.5},
    "data.flip": {"data::flip": "true"},
    "data.augment_share 0.9, data.augment_strength 2": {"data::augment_share": 0.9, "data::augment_strength": 2},
    "no augmentation": {"data::augment": "false"},
    "model.norm batch": {"model::norm": "batch"},
    "model.norm batch, loss.enhancement_weight 4": {"model::norm": "batch", "loss::enhancement_weight": 4},
    "model.head gated": {"model::head": "gated"},
    "loss.scales 3": {"loss::scales": 3},
}
G2 = {"refine::enabled": "true", "refine::hidden_dim": 16, "refine::num_blocks": 3, "refine::warmup_steps": 50}
REFINEMENTS: dict[str, dict[str, Any]] = {
    base: {**G2, "refine::base": base, "refine::fusion": fusion, "refine::lr": 2e-3}
    for base, fusion in (("product", "product"), ("coarse", "concat"), ("root", "concat"))
}
# G2 goes on at a tenth of its learning rate, alone or against a D, whose spectral norm R1 can replace.
GOES_ON = {"refine::lr": 2e-4, "train::skip_warmup": "true"}
D = {**GOES_ON, "discriminator::enabled": "true", "discriminator::hidden_dim": 16, "discriminator::lr": 3e-4,
     "discriminator::warmup_steps": 50}  # fmt: skip
ADVERSARIES: dict[str, dict[str, Any]] = {
    "none": GOES_ON,
    "gan_0.01": {**D, "discriminator::gan_weight": 0.01, "discriminator::feat_match_weight": 0.02},
    "gan_0.03": {**D, "discriminator::gan_weight": 0.03, "discriminator::feat_match_weight": 0.06},
    "gan_0.01_r1": {**D, "discriminator::gan_weight": 0.01, "discriminator::feat_match_weight": 0.02,
                     "discriminator::r1_weight": 1.0, "discriminator::spectral_norm": "false"},
}  # fmt: skip
Rows = dict[str, list[dict[str, float]]]


def train_seconds(
    seconds: float, place: Path, datalist: Path, change: Mapping[str, Any], preset: str, seed: int
) -> tuple[Path, int]:
    """Train for so many seconds of process time; give the run's folder and its steps."""
    words = [str(word) for name, value in change.items() for word in (f"--{name}", value)]
    training = TimedTraining(preset, datalist, words, seed=seed)
    steps = steps_within(seconds, training.seconds_per_step(place))
    training.run(steps, place / "run")
    return place / "run", steps


def enhanced(case: Case) -> tuple[Volume, np.ndarray, np.ndarray]:
    """The NCCT, the enhancement in HU, and the vessels' voxels that have one; of a case with all its files."""
    assert case.cta is not None
    assert case.vessel is not None
    ncct = read_ct(case.ncct)
    change = read_ct(case.cta).array.astype(np.float32) - ncct.array
    return ncct, change, (change > ENHANCEMENT_HU) & (read_mask(case.vessel, like=ncct) > 0)


def write_ceiling(cases: Mapping[str, Sequence[Case]], split: str, made: Path) -> dict[str, Path]:
    """Of each case the NCCT, raised where the CTA's vessels are by the median of the training cases' enhancement."""
    seen = [enhanced(case) for case in cases["training"]]
    level = float(np.median(np.concatenate([change[where] for _, change, where in seen])))
    made.mkdir(parents=True, exist_ok=True)
    written = {case.name: made / f"{case.name}.nii.gz" for case in cases[split]}
    for case in cases[split]:
        ncct, _, where = enhanced(case)
        write_like(to_int16_hu(ncct.array + level * where), ncct, written[case.name])
    return written


def scores_of(datalist: Path, run: Path | str) -> dict[str, float]:
    """The scores of a run's last weights, of the identity or the ceiling, on all cases that it wasn't trained on."""
    splits = read_case_list(datalist)
    held_out = {split: cases for split, cases in splits.items() if split != "training" and cases}
    wanted = [column for column in columns(HUWindow(*DataConfig().window)) if column.name in COLUMNS]
    rows = []
    for split, cases in held_out.items():
        if run == IDENTITY:
            method = Method(IDENTITY, {case.name: case.ncct for case in cases})
        elif isinstance(run, str):
            method = Method(run, write_ceiling(splits, split, datalist.parent / run))
        else:
            made = run / f"predictions_{split}"
            words = ["--checkpoint", run / LAST, "--input", datalist, "--output", made, "--split", split]
            infer.main([*map(str, words), "--device", "cpu", "--overwrite"])
            method = Method("run", {case.name: made / f"{case.name}{OUTPUT_SUFFIX}" for case in cases})
        rows += [score_case(case, [method], wanted).rows[0] for case in cases]
    return {name: statistics.fmean(float(row[name]) for row in rows) for name in COLUMNS}


def compare(folder: Path, datalists: Sequence[Path], options: argparse.Namespace) -> Rows:
    """Of the identity and each change, the scores of every list and seed."""
    rows: Rows = {name: [scores_of(datalist, name) for datalist in datalists] for name in (IDENTITY, CEILING)}
    print_table(rows)

    def note(name: str, datalist: Path, steps: int, run: Path) -> None:
        rows.setdefault(name, []).append(scores_of(datalist, run))
        print_table({f"{name}, {datalist.stem}, {steps} steps": rows[name][-1:]})

    wanted = {name: CHANGES[name] for name in options.only or ([] if options.change else CHANGES)}
    for text in options.change:
        wanted[text] = dict(word.split("=", 1) for word in text.split())
    for name, change in wanted.items():
        for number, datalist in enumerate(datalists):
            for seed in range(options.seeds):
                place = folder / f"{list(wanted).index(name)}_{number}_{seed}"
                run, steps = train_seconds(options.seconds, place / "g", datalist, change, options.preset, seed)
                note(name, datalist, steps, run)
                half, preset = options.seconds / 2, options.preset
                for base in options.refine:
                    on_g = {**change, **REFINEMENTS[base], "train::pretrained_G": run / LAST}
                    g2, steps = train_seconds(half, place / base, datalist, on_g, preset, seed)
                    note(f"{name}, G2 on {base}", datalist, steps, g2)
                    for adversary in options.adversary:
                        on_g2 = {**on_g, "train::pretrained_G2": g2 / LAST, **ADVERSARIES[adversary]}
                        later, steps = train_seconds(half, place / f"{base} {adversary}", datalist, on_g2, preset, seed)
                        note(f"{name}, G2 on {base}, then D: {adversary}", datalist, steps, later)
    return rows


def print_table(rows: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Means, and the spread over lists and seeds where there are several."""
    print("| | " + " | ".join(COLUMNS.values()) + " |\n|---|" + "---|" * len(COLUMNS))
    for name, scores in rows.items():
        cells = []
        for column in COLUMNS:
            values = [score[column] for score in scores]
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.fmean(values):.2f}{spread}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def lists_of_pairs(pairs: Path, folder: Path, scored: Sequence[str]) -> list[Path]:
    """A case list for each pair that is scored: all others train."""
    names = sorted(path.name.removesuffix("_ncct.nii.gz") for path in pairs.glob("*_ncct.nii.gz"))
    entries = {
        name: {"case": name, **{kind: str((pairs / f"{name}_{kind}.nii.gz").resolve()) for kind in KINDS}}
        for name in names
    }
    lists = []
    folder.mkdir(parents=True, exist_ok=True)
    for left_out in scored or names:
        others = [entry for name, entry in entries.items() if name != left_out]
        path = folder / f"without_{left_out}.json"
        # No case may be in two splits, and a list has a validation, which never runs here: the pair is scored as that.
        path.write_text(json.dumps({"training": others, "validation": [entries[left_out]]}))
        lists.append(path)
    return lists


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="process time of each training (default: 300)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each change (default: 3)")
    parser.add_argument("--preset", default="g_small", help="what is changed (default: g_small)")
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), help="these changes alone")
    parser.add_argument(
        "--change", action="append", default=[], metavar="'section::key=value ...'", help="one of your own; repeatable"
    )
    parser.add_argument("--refine", nargs="+", choices=list(REFINEMENTS), default=[], help="G2 on each, on these bases")
    parser.add_argument(
        "--adversary", nargs="+", choices=list(ADVERSARIES), default=[], help="each G2 goes on, alone and against a D"
    )
    parser.add_argument("--cases", type=int, default=12, help="phantoms, a third of them held out (default: 12)")
    parser.add_argument("--small", action="store_true", help="phantoms of 96 x 96 x 48 voxels")
    parser.add_argument("--pairs", type=Path, help="real pairs, {case}_{ncct,cta,lung,vessel}.nii.gz, instead")
    parser.add_argument("--score", nargs="+", default=[], metavar="CASE", help="pairs to score (default: each in turn)")
    parser.add_argument("--output", type=Path, help="keep the runs here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        if options.pairs:
            datalists = lists_of_pairs(options.pairs, folder / "lists", options.score)
        else:
            size: dict[str, Any] = {"shape": (96, 96, 48), "spacing": (3.5, 3.5, 5.25)} if options.small else {}
            datalists = [write_cohort(folder / "phantom", cases=options.cases, seed=0, **size)]
        rows = compare(folder, datalists, options)
    print()
    print_table(rows)


if __name__ == "__main__":
    main()
