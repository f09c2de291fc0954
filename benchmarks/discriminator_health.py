"""What a leaking generator gradient does to a discriminator: ``python benchmarks/discriminator_health.py``.

Two trainings of the same nets on the same phantoms with the same seed. One is AdversarialSynthesisTrainer as it is: D
is isolated. In the other the generator's step doesn't freeze D, and D's gradients aren't zeroed before its own step, so
that the generator's loss trains D too. The table is the mean over the last 100 steps; beside it what the log says.

Least squares with three scales has two fixed points where D gives real and synthetic one score. A D that can't tell
sits at 1/2 (d_loss 0.75, gan_g 0.75), a D that the generator trains at 3/4 (d_loss 0.9375, gan_g 0.1875).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from ncct_cta.common import keys
from ncct_cta.engines import Adversary, NetworkUpdate
from ncct_cta.handlers import discriminator_health
from ncct_cta.losses.aligned import Aligned
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.train.command import main as train

WINDOW = 100  # steps an epoch, so that the last row of metrics.csv is the mean over the last 100
SHOWN = (keys.D_REAL, keys.D_FAKE, keys.D_LOSS, keys.GAN_G)


class LeakingUpdate(NetworkUpdate):
    """A step onto whatever gradients are already there; for float32."""

    def __call__(self, loss: torch.Tensor) -> dict[str, torch.Tensor]:
        """Backward, clip, step; zero the gradients only afterwards."""
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], self.max_norm)
        self.optimizer.step()
        self.lr_scheduler.step()
        self.optimizer.zero_grad()
        return {keys.GNORM_D: norm}


class LeakingAdversary(Adversary):
    """The fault: the generator's loss leaves its gradient in D, and D's next step takes it along."""

    def __init__(self, network: nn.Module, update: NetworkUpdate, *arguments: Any, **options: Any) -> None:
        leaking = LeakingUpdate(update.optimizer, update.lr_scheduler, grad_clip=update.max_norm)
        super().__init__(network, leaking, *arguments, **options)

    def judge(self, aligned: Aligned) -> dict[str, torch.Tensor]:
        """Judge with a D that isn't frozen."""
        with patch("ncct_cta.engines.adversary.frozen", nullcontext):
            return super().judge(aligned)


@contextmanager
def adversary_class(kind: str) -> Iterator[None]:
    """Let the wiring build the adversary of this kind."""
    replacement = {"isolated": Adversary, "leaking": LeakingAdversary}[kind]
    with patch("ncct_cta.train.builders.Adversary", replacement):
        yield


def run(kind: str, folder: Path, options: argparse.Namespace) -> tuple[dict[str, float], str]:
    """Train; give the means over the last 100 steps and what the health handler said, if anything."""
    settings = {
        "data::datalist": folder / "phantom",
        "data::patch_size": "[64, 64]",
        "discriminator::hidden_dim": options.hidden_dim,
        "discriminator::lr": options.discriminator_lr,
        "discriminator::warmup_steps": 20,
        "ema::enabled": "false",
        "train::skip_warmup": "true",
        "train::lr": options.lr,
        "train::warmup_steps": 20,
        "train::num_epochs": options.steps // WINDOW,
        "train::steps_per_epoch": WINDOW,
        "train::batch_size": 4,
        "train::val_every": options.steps // WINDOW,
        "train::device": options.device,
        "train::seed": options.seed,
        "train::output_dir": folder / kind,
    }
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    preset = folder / "preset.yaml"
    preset.write_text("model: {channels: [16, 32, 64], num_res_units: 1}\ndiscriminator: {enabled: true}\n")
    with adversary_class(kind):
        train([str(preset), *words])
    with open(folder / kind / "metrics.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    said = [
        line for line in (folder / kind / "train.log").read_text().splitlines() if discriminator_health.__name__ in line
    ]
    return {name: float(last[name]) for name in SHOWN}, " / ".join(line.partition("health: ")[2] for line in said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="steps of each training, in hundreds (default: 400)")
    parser.add_argument("--hidden-dim", type=int, default=16, help="features of D's first layer (default: 16)")
    parser.add_argument("--lr", type=float, default=1e-4, help="learning rate of the generator (default: 1e-4)")
    parser.add_argument("--discriminator-lr", type=float, default=2e-4, help="learning rate of D (default: 2e-4)")
    parser.add_argument("--cases", type=int, default=6, help="phantoms (default: 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="keep the runs here (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary)
        write_cohort(
            folder / "phantom", cases=options.cases, seed=options.seed, shape=(64, 64, 32), spacing=(5.25, 5.25, 8.0)
        )
        results = {kind: run(kind, folder, options) for kind in ("isolated", "leaking")}
    print(f"\nmeans over the last {WINDOW} of {options.steps} steps\n")
    print("| D | D_real | D_fake | D_real - D_fake | d_loss | gan_g |\n|---|---|---|---|---|---|")
    for kind, (means, _) in results.items():
        real, fake, d_loss, gan_g = (means[name] for name in SHOWN)
        print(f"| {kind} | {real:.3f} | {fake:.3f} | {real - fake:.3f} | {d_loss:.3f} | {gan_g:.3f} |")
    print(
        "| blind (theory) | 0.500 | 0.500 | 0 | 0.750 | 0.750 |\n| leak (theory) | 0.750 | 0.750 | 0 | 0.938 | 0.188 |"
    )
    for kind, (_, said) in results.items():
        print(f"\n{kind}: {said or 'the health handler says nothing'}")


if __name__ == "__main__":
    main()
