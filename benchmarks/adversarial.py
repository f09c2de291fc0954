"""Is a discriminator worth its time: ``python benchmarks/adversarial.py``.

On phantoms: G first, then G2 on the frozen G for some steps, then G2 + D from there. Against them a G2 that trains as
long in all as G2 and G2 + D together: equal training time, measured in this run. The table is over the held-out
phantoms, from the saved files. Sharpness is the high-frequency energy of the lungs' vessels over the real CTA's: 1 is
as sharp as the CTA, blurred edges have less.

Wanted: G2 + D keeps the body without vessels within 3 HU of G2, and its sharpness is closer to 1.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from ncct_cta import infer, train
from ncct_cta.data import read_case_list
from ncct_cta.demo.summary import means
from ncct_cta.engines.inference import OUTPUT_SUFFIX
from ncct_cta.evaluate.comparison import evaluate
from ncct_cta.evaluate.results import Method
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.runs.names import BEST, LAST

COLUMNS = ("body_mae_hu", "lung_mae_hu", "vessel_mae_hu", "nonvessel_mae_hu", "lung_vessel_energy")


def train_and_infer(
    preset: str, run: Path, datalist: Path, steps: int, checkpoint: str = BEST, **settings: Any
) -> float:
    """Train for so many steps in two epochs and synthesise the held-out cases; give the seconds of the training."""
    given = {
        "data::datalist": datalist,
        "train::num_epochs": 2,
        "train::steps_per_epoch": max(1, steps // 2),
        "train::val_every": 2,
        "train::output_dir": run,
        **settings,
    }
    start = time.monotonic()
    train.main([preset, *[str(word) for name, value in given.items() for word in (f"--{name}", value)]])
    seconds = time.monotonic() - start
    # The last weights, not the best by val_loss: that is a reconstruction loss, and would choose against D.
    words = ["--checkpoint", str(run / checkpoint), "--input", str(datalist), "--output", str(run / "predictions")]
    infer.main([*words, "--overwrite"])
    return seconds


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run all trainings; give the scores by method and the seconds."""
    datalist = write_cohort(folder / "phantom", cases=options.cases, seed=options.seed)
    g, g2, g2_gan, g2_long = (folder / name for name in ("g", "g2", "g2_gan", "g2_long"))
    common = {"train::seed": options.seed}
    train_and_infer("g_small", g, datalist, options.g_steps, **common)
    common |= {"train::pretrained_G": g / BEST, "refine::fusion": options.fusion}
    seconds = train_and_infer("g2_small", g2, datalist, options.g2_steps, LAST, **common)
    gan = common | {"train::pretrained_G2": g2 / LAST}
    gan_seconds = train_and_infer("g2_gan_small", g2_gan, datalist, options.gan_steps, LAST, **gan)
    long_steps = round(options.g2_steps * (1 + gan_seconds / seconds))
    long_seconds = train_and_infer("g2_small", g2_long, datalist, long_steps, LAST, **common)
    names = {
        "G": g,
        f"G2, {options.g2_steps} steps (before D)": g2,
        f"G2, {long_steps} steps": g2_long,
        f"G2 + D, {options.g2_steps} + {options.gan_steps} steps": g2_gan,
    }
    held_out = read_case_list(datalist)["testing"]
    methods = [
        Method(name, {case.name: run / "predictions" / f"{case.name}{OUTPUT_SUFFIX}" for case in held_out})
        for name, run in names.items()
    ]
    scores = means(evaluate(held_out, methods, output=folder / "evaluation"))
    return {"scores": scores, "seconds": (seconds + gan_seconds, long_seconds), "cases": len(held_out)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=14, help="phantoms (default: 14)")
    parser.add_argument("--g-steps", type=int, default=600, help="steps of G (default: 600)")
    parser.add_argument("--g2-steps", type=int, default=1200, help="steps of G2 (default: 1200)")
    parser.add_argument("--gan-steps", type=int, default=300, help="steps of G2 + D after it (default: 300)")
    parser.add_argument("--fusion", default="product", choices=("product", "concat"), help="what G2 sees")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="keep the runs here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = compare(options.output or Path(temporary), options)
    print(f"\n{result['cases']} held-out phantoms; fusion {options.fusion}\n")
    print("| method | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    for name, scores in result["scores"].items():
        print(f"| {name} | " + " | ".join(f"{scores[column]:.2f}" for column in COLUMNS) + " |")
    seconds = result["seconds"]
    print(f"\ntraining time: G2 then G2 + D {seconds[0]:.0f} s, G2 alone {seconds[1]:.0f} s")


if __name__ == "__main__":
    main()
