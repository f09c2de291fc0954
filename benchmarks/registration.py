"""Does R help when NCCT and CTA don't lie on each other? ``python benchmarks/registration.py``.

Two trainings of the same G on the same phantoms with the same steps and seeds, with R and without. Every training pair
has a displacement of its own of up to 4 mm between NCCT and CTA, as breathing makes it: mostly along z. So that
2-D nets see it, the slices are coronal. Printed is the error on patients that neither has seen, against their aligned
CTA, which a real cohort doesn't have.

The nets and the phantoms are small; the ratio says that R does its work, not what it brings on your data. R needs a G
that has learned something: what G lacks, R tries to make up by moving tissue, and early in a training it is in the way.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from ncct_cta.engines import synthesise
from ncct_cta.metrics import mean_absolute_error
from ncct_cta.phantom.cohort import make_case
from ncct_cta.phantom.writing import write_case, write_datalist
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.train.command import main as train
from ncct_cta.volumes.nifti import read_ct

SHAPE = (64, 32, 64)
TRAINING, HELD_OUT = "training", "held_out"
PRESET = """\
model: {channels: [16, 32, 64, 128], num_res_units: 1}
ema: {decay: 0.99}
"""


def write_coronal_cohort(folder: Path, cases: int, seed: int, options: argparse.Namespace) -> None:
    """Write misaligned pairs, and what they are when aligned, with y in the place of z."""
    folder.mkdir(parents=True, exist_ok=True)
    spacing = (options.voxel_mm,) * 3
    entries = []
    for index in range(cases):
        case = make_case(seed, index, shape=SHAPE, spacing=spacing, motion_mm=options.motion_mm)
        images = {kind: getattr(case, kind) for kind in ("ncct", "cta", "lung", "vessel", "cta_aligned")}
        coronal = {kind: np.ascontiguousarray(np.swapaxes(image, 1, 2)) for kind, image in images.items()}
        entries.append(write_case(folder, f"phantom{index:03d}", coronal, np.diag([*spacing, 1.0])))
    write_datalist(folder, entries)


def run(name: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Train with these settings; give the mean absolute errors in HU against the aligned CTA."""
    settings = {
        "data::datalist": folder / TRAINING / "datalist.json",
        "data::patch_size": "[64, 64]",
        "registration::enabled": "true" if name == "R" else "false",
        "registration::lr": options.registration_lr,
        "registration::smoothness_weight": options.smoothness_weight,
        "train::lr": options.lr,
        "train::warmup_steps": 20,
        "train::batch_size": 4,
        "train::num_epochs": 2,
        "train::steps_per_epoch": options.steps // 2,
        "train::val_every": 2,
        "train::device": options.device,
        "train::seed": options.seed,
        "train::output_dir": folder / name,
    }
    preset = folder / "preset.yaml"
    preset.write_text(PRESET)
    train([str(preset), *(str(word) for key, value in settings.items() for word in (f"--{key}", value))])
    return errors(TrainedModel(str(folder / name), device=options.device), folder / HELD_OUT)


def errors(model: TrainedModel | None, held_out: Path) -> dict[str, float]:
    """MAE in HU over vessels and the whole volume, mean over the held-out cases; without a model: the identity."""
    rows = []
    for path in sorted(held_out.glob("*_ncct.nii.gz")):
        cta, vessel = (read(path, kind) for kind in ("cta_aligned", "vessel"))
        ncct = read_ct(path)
        prediction = ncct.array if model is None else synthesise(ncct, model.cascade, model.inferer)
        rows.append([mean_absolute_error(prediction, cta, mask) for mask in (vessel > 0, np.ones_like(vessel) > 0)])
    vessels, everywhere = np.mean(rows, axis=0)
    return {"vessels": float(vessels), "everywhere": float(everywhere)}


def read(path: Path, kind: str) -> np.ndarray:
    """Another image of the case of this NCCT."""
    return np.asanyarray(nib.load(path.with_name(path.name.replace("_ncct", f"_{kind}"))).dataobj)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200, help="steps of each training (default: 1200)")
    parser.add_argument("--cases", type=int, default=12, help="training phantoms (default: 12)")
    parser.add_argument("--motion-mm", type=float, default=4.0, help="largest displacement of a pair (default: 4)")
    parser.add_argument("--voxel-mm", type=float, default=1.5, help="voxel size (default: 1.5)")
    parser.add_argument("--lr", type=float, default=3e-3, help="learning rate of G (default: 3e-3)")
    parser.add_argument("--registration-lr", type=float, default=1e-3, help="learning rate of R (default: 1e-3)")
    parser.add_argument("--smoothness-weight", type=float, default=1.0, help="of R's field (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="keep the runs here (default: a temporary folder)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        for name, seed, cases in ((TRAINING, options.seed, options.cases), (HELD_OUT, options.seed + 1000, 4)):
            write_coronal_cohort(folder / name, cases, seed, options)
        results = {"identity": errors(None, folder / HELD_OUT)}
        results |= {name: run(name, folder, options) for name in ("no R", "R")}
    print(
        f"\nMAE in HU against the aligned CTA, {options.steps} steps, pairs displaced by up to {options.motion_mm} mm\n"
    )
    print("| training | vessels | whole volume |\n|---|---|---|")
    for name, row in results.items():
        print(f"| {name} | {row['vessels']:.1f} | {row['everywhere']:.1f} |")
    ratio = results["R"]["vessels"] / results["no R"]["vessels"]
    print(f"\nvessels, with R / without: {ratio:.2f} (below 1: R helps; at most 0.90 is asked for)")


if __name__ == "__main__":
    main()
